"""Which instances a command is about: from a file, or from the flags of one instance.

Every mistake is told at once, in the words of whoever wrote it: a file's with its place in the
file, a flag's with the flag.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kato_consul._definitions.loader import read_definitions
from kato_consul._definitions.schema import CheckDefinition, ProbeDefinition, ServiceDefinition
from kato_consul._registration.registration import CONSUL_WITHIN
from kato_consul.cli.options.common import seconds, settings
from kato_consul.errors import ConfigurationError, DefinitionError
from kato_consul.settings import Settings

_CHECK_FLAGS = {"http": "check-http", "tcp": "check-tcp", "interval": "interval"}


Stamp = tuple[int, int, int]
"""What changes when a file does: editors replace it, others write into it."""


def stamp_of(file: Path | None) -> Stamp | None:
    """The file's stamp now; None where there is no file."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass(frozen=True)
class JobOptions:
    """What to register, where, and how many seconds to wait for passing and for Consul.

    ``stamp`` is the file's from before it was read, to know it when it changes.
    """

    definitions: list[ServiceDefinition]
    settings: Settings
    wait: float
    wait_consul: float
    json: bool
    file: Path | None
    stamp: Stamp | None


@dataclass(frozen=True)
class Flags:
    """One instance, as flags say it; None is a flag that was not given."""

    name: str | None
    id: str | None
    address: str | None
    port: int | None
    tags: list[str] | None
    meta: list[str] | None
    zone: str | None
    check_http: str | None
    check_tcp: str | None
    interval: str | None

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return any(value not in (None, []) for value in vars(self).values())


class Mistakes:
    """Mistakes, gathered."""

    def __init__(self) -> None:
        self.found: list[str] = []

    @contextmanager
    def gathering(self, flags: Mapping[str, str] | None = None) -> Iterator[None]:
        """Take in what the block raises; ``flags`` are those for a definition's fields."""
        try:
            yield
        except DefinitionError as error:
            self.found += [_of_flag(one, flags) if flags else one for one in error.mistakes]
        except ConfigurationError as error:
            self.found.append(str(error))

    def tell(self) -> None:
        """Raises ConfigurationError when there are any."""
        if len(self.found) == 1:
            raise ConfigurationError(self.found[0])
        if self.found:
            count = len(self.found)
            raise ConfigurationError("\n  ".join([f"{count} mistakes:", *self.found]))


def job_options(
    file: Path | None,
    flags: Flags,
    *,
    wait: str,
    wait_consul: str | None,
    consul: str | None,
    json: bool,
) -> JobOptions:
    """The instances and settings that options ask for.

    Raises:
        ConfigurationError: with every mistake.
    """
    mistakes = Mistakes()
    definitions: list[ServiceDefinition] = []
    stamp = stamp_of(file)
    patience, consul_within = 0.0, CONSUL_WITHIN
    where = None
    with mistakes.gathering():
        if file is not None and flags.given:
            raise ConfigurationError("give either -f FILE or the flags of one instance, not both")
        if file is not None:
            definitions = read_definitions(file)
        elif flags.given:
            definitions = _from_flags(flags, mistakes)
        else:
            raise ConfigurationError("say what to register: -f FILE, or --name and --port")
    with mistakes.gathering():
        patience = seconds("--wait", wait)
        # Who does not wait long for instances does not want to wait longer for Consul.
        consul_within = min(CONSUL_WITHIN, patience) if patience else CONSUL_WITHIN
    with mistakes.gathering():
        if wait_consul is not None:
            consul_within = seconds("--wait-consul", wait_consul)
    with mistakes.gathering():
        where = settings(consul)
    mistakes.tell()
    assert where is not None
    return JobOptions(definitions, where, patience, consul_within, json, file, stamp)


def _from_flags(flags: Flags, mistakes: Mistakes) -> list[ServiceDefinition]:
    if flags.name is None:
        mistakes.found.append("--name is missing: the name that clients look for, such as kato")
    if flags.port is None:
        mistakes.found.append("--port is missing: the port that the instance listens on")
    meta = {}
    for item in flags.meta or ():
        key, sign, meta[key] = item.partition("=")
        if not sign or not key:
            mistakes.found.append(f"--meta {item!r}: write it as KEY=VALUE")
    check: CheckDefinition | None = None
    probe: ProbeDefinition | None = None
    interval = flags.interval
    with mistakes.gathering(_CHECK_FLAGS):
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
    with mistakes.gathering({"name": "name", "port": "port", "address": "address"}):
        definition = ServiceDefinition(
            # Stands in for what is missing, so that the other fields are looked at all the same.
            name="kato" if flags.name is None else flags.name,
            port=1 if flags.port is None else flags.port,
            id=flags.id or "",
            address=flags.address or "",
            tags=tuple(flags.tags or ()),
            meta=meta,
            zone=flags.zone or "",
            check=check,
            probe=probe,
        )
        return [definition]
    return []


def _of_flag(mistake: str, flags: Mapping[str, str]) -> str:
    field, colon, reason = mistake.partition(": ")
    return f"--{flags[field]}: {reason}" if colon and field in flags else mistake
