"""Options of a registration job: instances from files, or from the flags of one instance.

All mistakes are reported at once: those in files with their place, those in flags with the
flag.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from kato_consul import (
    CheckDefinition,
    ConfigurationError,
    DefinitionError,
    ProbeDefinition,
    ServiceDefinition,
    Settings,
)
from kato_consul.cli.options.common import duration_option, settings_from
from kato_consul.cli.options.definition_files import DefinitionFiles, FileStamp

DEFAULT_WAIT_CONSUL = 10.0
"""Seconds that the agent may take to answer, unless --wait-consul is given; as in `Registrar`."""

_FLAG_OF_CHECK_FIELD = {"http": "check-http", "tcp": "check-tcp", "interval": "interval"}
_FLAG_OF_FIELD = {name: name for name in ("name", "port", "address", "scheme", "path")}


@dataclass(frozen=True)
class JobOptions:
    """What to register and where.

    ``wait`` and ``wait_consul`` are seconds: until the instances are passing, and for Consul to
    answer. ``stamps`` are the files' from before they were read, to detect later changes.
    """

    definitions: list[ServiceDefinition]
    settings: Settings
    wait: float
    wait_consul: float
    json: bool
    files: DefinitionFiles | None
    stamps: Mapping[str, FileStamp | None]


@dataclass(frozen=True)
class InstanceFlags:
    """The flags that define one instance; None is a flag that was not given."""

    name: str | None
    id: str | None
    address: str | None
    port: int | None
    tags: list[str] | None
    meta: list[str] | None
    zone: str | None
    scheme: str | None
    path: str | None
    check_http: str | None
    check_tcp: str | None
    interval: str | None

    @property
    def given(self) -> bool:
        """Whether any flag was given."""
        return any(value not in (None, []) for value in vars(self).values())


class Mistakes:
    """Mistakes in the options, collected to be reported together."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    @contextmanager
    def collect(self, flag_of: Mapping[str, str] | None = None) -> Iterator[None]:
        """Collect the error that the block raises.

        ``flag_of`` maps the fields of a definition to the flags that set them.
        """
        try:
            yield
        except DefinitionError as error:
            self.messages += [
                _with_flag(mistake, flag_of) if flag_of else mistake for mistake in error.mistakes
            ]
        except ConfigurationError as error:
            self.messages.append(str(error))

    def raise_if_any(self) -> None:
        """Raise ConfigurationError with all mistakes, if there are any."""
        if len(self.messages) == 1:
            raise ConfigurationError(self.messages[0])
        if self.messages:
            count = len(self.messages)
            raise ConfigurationError("\n  ".join([f"{count} mistakes:", *self.messages]))


def job_options(
    files: DefinitionFiles | None,
    flags: InstanceFlags,
    *,
    wait: str,
    wait_consul: str | None,
    consul: str | None,
    json: bool,
) -> JobOptions:
    """Convert and check the options.

    Raises:
        ConfigurationError: with every mistake.
    """
    mistakes = Mistakes()
    definitions: list[ServiceDefinition] = []
    stamps = {} if files is None else files.stamps()
    wait_seconds, wait_consul_seconds = 0.0, DEFAULT_WAIT_CONSUL
    settings = None
    with mistakes.collect():
        if files is not None and flags.given:
            raise ConfigurationError("give either -f FILE or the flags of one instance, not both")
        if files is not None:
            definitions = files.read()
        elif flags.given:
            definitions = _from_flags(flags, mistakes)
        else:
            raise ConfigurationError("nothing to register: give -f FILE, or --name and --port")
    with mistakes.collect():
        wait_seconds = duration_option("--wait", wait)
        # A short --wait limits the wait for Consul too.
        if wait_seconds:
            wait_consul_seconds = min(DEFAULT_WAIT_CONSUL, wait_seconds)
    with mistakes.collect():
        if wait_consul is not None:
            wait_consul_seconds = duration_option("--wait-consul", wait_consul)
    with mistakes.collect():
        settings = settings_from(consul)
    mistakes.raise_if_any()
    assert settings is not None
    return JobOptions(definitions, settings, wait_seconds, wait_consul_seconds, json, files, stamps)


def _from_flags(flags: InstanceFlags, mistakes: Mistakes) -> list[ServiceDefinition]:
    if flags.name is None:
        mistakes.messages.append("--name is missing: the service's name, such as kato")
    if flags.port is None:
        mistakes.messages.append("--port is missing: the port that the instance listens on")
    meta = {}
    for entry in flags.meta or ():
        key, sign, meta[key] = entry.partition("=")
        if not sign or not key:
            mistakes.messages.append(f"--meta {entry!r}: write it as KEY=VALUE")
    check: CheckDefinition | None = None
    probe: ProbeDefinition | None = None
    interval = flags.interval
    with mistakes.collect(_FLAG_OF_CHECK_FIELD):
        if flags.check_http is not None or flags.check_tcp is not None:
            check = CheckDefinition(
                http=flags.check_http,
                tcp=flags.check_tcp,
                interval=CheckDefinition.interval if interval is None else interval,
            )
        else:
            probe = ProbeDefinition(
                interval=ProbeDefinition.interval if interval is None else interval
            )
    with mistakes.collect(_FLAG_OF_FIELD):
        definition = ServiceDefinition(
            # Valid values replace missing ones, so that the other fields are checked as well.
            name="kato" if flags.name is None else flags.name,
            port=1 if flags.port is None else flags.port,
            id=flags.id or "",
            address=flags.address or "",
            tags=tuple(flags.tags or ()),
            meta=meta,
            zone=flags.zone or "",
            scheme=flags.scheme or "",
            path=flags.path or "",
            check=check,
            probe=probe,
        )
        return [definition]
    return []


def _with_flag(mistake: str, flag_of: Mapping[str, str]) -> str:
    field, colon, reason = mistake.partition(": ")
    return f"--{flag_of[field]}: {reason}" if colon and field in flag_of else mistake
