"""A local fleet for ``dev`` and ``demo``: a Consul agent and stand-in KATO instances."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kato_consul import ConfigurationError
from kato_consul.cli.exit_codes import CommandFailed
from kato_consul.cli.output import print_status

if TYPE_CHECKING:
    from kato_consul.testing.fleet import Fleet


@contextmanager
def local_fleet(count: int) -> Iterator["Fleet"]:
    """Start an agent and ``count`` instances; they are stopped at the end of the block.

    Raises:
        ConfigurationError: the extra ``testing`` is not installed.
        CommandFailed: there is no Consul program, or something did not start.
    """
    _require_testing_extra()
    from kato_consul.testing.fleet import Fleet

    with ExitStack() as resources:
        try:
            fleet = resources.enter_context(Fleet(count, on_progress=print_status))
        except RuntimeError as error:  # including ConsulNotFound and ConsulFailed
            raise CommandFailed(str(error)) from error
        yield fleet


def _require_testing_extra() -> None:
    # The instances import them in processes of their own, where a failure would not be visible.
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"this command starts stand-in KATO instances and needs {' and '.join(missing)}: "
            f"pip install 'kato-consul[testing]'"
        )
