"""Exit codes, and the conversion of errors to them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kato_consul import (
    ConfigurationError,
    ConsulDenied,
    ConsulError,
    ConsulUnavailable,
    ConsulUnreachable,
    DiscoveryError,
    KatoConsulError,
    NotPassing,
    SessionDirectoryUnavailable,
)
from kato_consul.cli.output import discard_output, print_status

NO_CONSUL = 3
DENIED = 4
STILL_BUSY = 7
DOCTOR_WARNINGS = 8
DOCTOR_ERRORS = 9

EXITS = {
    0: "done",
    1: "failed; the last line gives the reason",
    2: "invalid definition, option or setting",
    NO_CONSUL: "no answer from Consul, or from the session directory",
    DENIED: "denied by Consul, or by the session directory",
    5: "no such service",
    6: "not passing in time",
    STILL_BUSY: "still in use when the drain time was over",
    DOCTOR_WARNINGS: "doctor found warnings",
    DOCTOR_ERRORS: "doctor found errors",
    130: "interrupted by Ctrl-C or a signal",
}

# The first match counts.
_CODES: tuple[tuple[type[KatoConsulError], int], ...] = (
    (ConfigurationError, 2),
    (ConsulUnreachable, NO_CONSUL),
    (ConsulUnavailable, NO_CONSUL),
    (ConsulDenied, DENIED),
    (SessionDirectoryUnavailable, NO_CONSUL),
    (NotPassing, 6),
    (DiscoveryError, 5),
    (ConsulError, 1),
)


class CommandFailed(Exception):
    """A failure outside this library; the message is for the user."""


def code_for(error: KatoConsulError) -> int:
    """Return the exit code for an error."""
    if isinstance(error, SessionDirectoryUnavailable) and error.denied:
        return DENIED
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Convert this library's errors to a message on stderr and an exit code; Ctrl-C to 130."""
    try:
        yield
        sys.stdout.flush()  # while a broken pipe can still be handled
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
        discard_output(sys.stdout)
        raise SystemExit(1) from None  # as typer and rich do
