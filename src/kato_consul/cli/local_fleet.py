"""A fleet on this machine, for ``dev`` and ``demo``: an agent, and stand-in KATO instances."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kato_consul.cli.exit_codes import CommandFailed
from kato_consul.cli.output import print_status
from kato_consul.errors import ConfigurationError

if TYPE_CHECKING:
    from kato_consul.testing.fleet import Fleet


@contextmanager
def local_fleet(count: int) -> Iterator["Fleet"]:
    """An agent and ``count`` instances, ended with the block.

    Raises:
        ConfigurationError: the extra ``testing`` is not installed.
        CommandFailed: there is no Consul program, or something did not start.
    """
    _need_extra()
    from kato_consul.testing.fleet import Fleet

    with ExitStack() as running:
        try:
            fleet = running.enter_context(Fleet(count, say=print_status))
        except RuntimeError as error:  # ConsulNotFound and ConsulFailed are such, too
            raise CommandFailed(str(error)) from error
        yield fleet


def _need_extra() -> None:
    # They are imported by the instances, in processes of their own, where nobody sees it fail.
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"this command starts stand-in KATO instances and needs {' and '.join(missing)}: "
            f"pip install 'kato-consul[testing]'"
        )
