"""`follow`: what is done with which snapshot. A discovery with a script, and real files."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kato_consul import ConsulUnreachable, KatoConsulError, Settings
from kato_consul.gateways import (
    ConfigFile,
    GatewayEvent,
    Placement,
    first_snapshot,
    follow,
)
from kato_consul.gateways import following as following_module
from kato_consul.models import Health, Instance, Snapshot, Source

ONE = Instance("a", "kato", "10.0.0.1", 8000)
TWO = Instance("b", "kato", "10.0.0.2", 8000)


def snapshot(*instances: Instance, source: Source = Source.CONSUL) -> Snapshot:
    """Return a snapshot."""
    return Snapshot("kato", instances, source=source)


@dataclass
class Scripted:
    """A discovery that returns one snapshot of its script after the other, then stays."""

    script: list[Snapshot | KatoConsulError | None]
    settings: Settings = field(default_factory=lambda: Settings(trust_env=False))
    last_error: KatoConsulError | None = None
    current: Snapshot | None = None

    def wait_for_change(self, seen: Snapshot | None, timeout: float) -> Snapshot | None:
        """Go on in the script, unless the caller has not seen the current snapshot."""
        if self.script and (self.current is seen or self.current is None):
            step = self.script.pop(0)
            if isinstance(step, KatoConsulError):
                self.last_error = step
            else:
                self.current, self.last_error = step, None
        return self.current


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for, but a retry that a test sets itself."""
    monkeypatch.setattr(following_module, "MIN_INTERVAL", 0.0)
    monkeypatch.setattr(following_module, "RETRY_AFTER", 0.0)


@dataclass
class File:
    """A configuration file with the addresses of the servers, and how its check ends."""

    path: Path
    accepts: Callable[[str], bool] = lambda text: True
    checked: list[str] = field(default_factory=list)

    @property
    def files(self) -> tuple[ConfigFile, ...]:
        """The file, for `follow`."""
        return (
            ConfigFile(
                lambda pool: " ".join(server.netloc for server in pool.servers),
                Placement(self.path, self._check),
            ),
        )

    def _check(self, file: Path) -> list[str]:
        text = file.read_text()
        self.checked.append(text)
        return ["true" if self.accepts(text) else "false"]


@pytest.fixture
def file(tmp_path: Path) -> File:
    """A file that is always accepted."""
    return File(tmp_path / "kato.conf")


def events(discovery: Scripted, file: File, count: int) -> list[GatewayEvent]:
    """Return the first events."""
    reports = follow(discovery, file.files)
    return [next(reports).event for _ in range(count)]


def test_each_change_is_written(file: File) -> None:
    """The text of the newest snapshot is in the file."""
    discovery = Scripted([None, snapshot(ONE), snapshot(ONE, TWO)])
    assert events(discovery, file, 2) == [GatewayEvent.WRITTEN, GatewayEvent.WRITTEN]
    assert file.path.read_text() == "10.0.0.1:8000 10.0.0.2:8000"


def test_a_change_that_makes_no_other_text_is_not_checked(file: File) -> None:
    """Such as the output of a check."""
    other = Instance("a", "kato", "10.0.0.1", 8000, tags=("new",))
    discovery = Scripted([snapshot(ONE), snapshot(other)])
    assert events(discovery, file, 2) == [GatewayEvent.WRITTEN, GatewayEvent.UNCHANGED]
    assert len(file.checked) == 1


def test_without_an_instance_the_file_stays(file: File) -> None:
    """None is registered, or all are critical or in maintenance."""
    critical = Instance("a", "kato", "10.0.0.1", 8000, health=Health.CRITICAL)
    discovery = Scripted([snapshot(ONE), snapshot(critical), snapshot()])
    expected = [GatewayEvent.WRITTEN, GatewayEvent.NO_INSTANCES, GatewayEvent.NO_INSTANCES]
    assert events(discovery, file, 3) == expected
    assert file.path.read_text() == "10.0.0.1:8000"


def test_what_is_left_out_is_reported_first(file: File) -> None:
    """With the reason."""
    odd = Instance("odd", "kato", "10.0.0.3", 8000, path="/a$b")
    reports = follow(Scripted([snapshot(ONE, odd)]), file.files)
    first, second = next(reports), next(reports)
    assert (first.event, second.event) == (GatewayEvent.LEFT_OUT, GatewayEvent.WRITTEN)
    assert first.text.startswith("left out: odd: its path")


@pytest.mark.parametrize("source", [Source.DISK, Source.STATIC])
def test_only_what_consul_reported_is_written(file: File, source: Source) -> None:
    """Not what an earlier run has saved, which may be older than the file."""
    discovery = Scripted([snapshot(TWO, source=source), None, snapshot(ONE)])
    assert events(discovery, file, 1) == [GatewayEvent.WRITTEN]
    assert file.path.read_text() == "10.0.0.1:8000"


def test_a_static_list_is_written_if_there_is_no_consul(file: File) -> None:
    """``KATO_URL`` alone."""
    settings = Settings(trust_env=False, kato_urls=("http://10.0.0.2:8000",))
    assert not settings.uses_consul
    discovery = Scripted([snapshot(TWO, source=Source.STATIC)], settings)
    assert events(discovery, file, 1) == [GatewayEvent.WRITTEN]


def test_what_is_not_accepted_is_tried_again(file: File) -> None:
    """After a pause, without a change in Consul; and the file stays until then."""
    file.path.write_text("before")
    file.accepts = lambda text: len(file.checked) > 2
    discovery = Scripted([snapshot(ONE)])
    expected = [GatewayEvent.NOT_WRITTEN, GatewayEvent.NOT_WRITTEN, GatewayEvent.WRITTEN]
    reports = follow(discovery, file.files)
    found = []
    for _ in expected:
        assert file.path.read_text() == "before"
        found.append(next(reports).event)
    assert found == expected
    assert file.path.read_text() == "10.0.0.1:8000"


def test_a_pause_is_kept_before_the_next_try(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change in Consul does not wait for its end."""
    monkeypatch.setattr(following_module, "RETRY_AFTER", 1e9)
    file.accepts = lambda text: "10.0.0.2" in text
    discovery = Scripted([snapshot(ONE), None, None, snapshot(TWO)])
    assert events(discovery, file, 2) == [GatewayEvent.NOT_WRITTEN, GatewayEvent.WRITTEN]
    assert len(file.checked) == 2


def test_a_file_that_cannot_be_written_is_reported(file: File) -> None:
    """And tried again."""
    file.path = file.path.parent / "missing" / "kato.conf"
    report = next(follow(Scripted([snapshot(ONE)]), file.files))
    assert report.event is GatewayEvent.NOT_WRITTEN
    assert "cannot be written" in report.text
    assert "missing" in report.text


def test_an_outage_of_consul_is_reported_once(file: File) -> None:
    """And its end. Meanwhile the file stays."""
    error = ConsulUnreachable("127.0.0.1:8500", "refused")
    discovery = Scripted([snapshot(ONE), error, error, snapshot(ONE, TWO)])
    assert events(discovery, file, 4) == [
        GatewayEvent.WRITTEN,
        GatewayEvent.CONSUL_ERROR,
        GatewayEvent.CONSUL_RECOVERED,
        GatewayEvent.WRITTEN,
    ]


def test_first_snapshot_is_of_consul() -> None:
    """If there is none in time, the error says why."""
    saved, current = snapshot(TWO, source=Source.DISK), snapshot(ONE)
    assert first_snapshot(Scripted([None, saved, current]), 60.0) is current
    with pytest.raises(ConsulUnreachable, match="has not listed the instances within"):
        first_snapshot(Scripted([saved]), 0.01)
    with pytest.raises(ConsulUnreachable, match="refused"):
        first_snapshot(Scripted([ConsulUnreachable("127.0.0.1:8500", "refused")]), 0.01)
