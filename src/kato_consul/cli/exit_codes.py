"""Exit codes, and how errors become them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kato_consul.cli.output import nobody_reads, print_status
from kato_consul.errors import (
    ConfigurationError,
    ConsulDenied,
    ConsulError,
    ConsulUnavailable,
    ConsulUnreachable,
    DiscoveryError,
    KatoConsulError,
    NotPassing,
)

STILL_BUSY = 7

EXITS = {
    0: "done",
    1: "failed; the last line says why",
    2: "a definition, option or setting that cannot be used",
    3: "no answer from Consul",
    4: "denied by Consul",
    5: "no such service",
    6: "not passing in time",
    STILL_BUSY: "clients were still there when the drain time was over",
    8: "doctor has warnings",
    9: "doctor has found errors",
    130: "interrupted, by Ctrl-C or a signal",
}

# The first that fits.
_CODES: tuple[tuple[type[KatoConsulError], int], ...] = (
    (ConfigurationError, 2),
    (ConsulUnreachable, 3),
    (ConsulUnavailable, 3),
    (ConsulDenied, 4),
    (NotPassing, 6),
    (DiscoveryError, 5),
    (ConsulError, 1),
)


class CommandFailed(Exception):
    """Something around the command went wrong; the message is for people."""


def code_for(error: KatoConsulError) -> int:
    """The exit code for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn errors of ours into words on stderr and an exit code; Ctrl-C into 130."""
    try:
        yield
        sys.stdout.flush()  # here, where a broken pipe can still be met
    except KatoConsulError as error:
        print_status(f"error: {error}")
        raise SystemExit(code_for(error)) from None
    except CommandFailed as error:
        print_status(f"error: {error}")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print_status("interrupted")
        raise SystemExit(130) from None
    except BrokenPipeError:
        nobody_reads(sys.stdout)
        raise SystemExit(1) from None  # as typer and rich do
