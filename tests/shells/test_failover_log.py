"""What is logged when an instance is killed with SIGKILL, and when it is back."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kato_consul import AsyncKatoClient, KatoClient, Settings
from kato_consul.testing import StandInKato
from tests.testing.waiting import eventually


@pytest.fixture
def instances(tmp_path: Path) -> Iterator[dict[str, StandInKato]]:
    """Two instances with one store, by origin."""
    store = tmp_path / "store.sqlite"
    with StandInKato(store=store) as one, StandInKato(store=store) as other:
        yield {one.url: one, other.url: other}


class OnThreads:
    """A session of a `KatoClient`."""

    def __init__(self, settings: Settings) -> None:
        self._client = KatoClient(settings)
        self._session = self._client.session("me")

    def observe(self) -> str:
        """Observe an event; return the instance."""
        self._session.observe(["event"])
        return str(self._session.facts.instance)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


class OnTasks:
    """A session of an `AsyncKatoClient`, on an event loop of its own."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncKatoClient(settings)
        self._session = self._client.session("me")

    def observe(self) -> str:
        """Observe an event; return the instance."""
        self._runner.run(self._session.observe(["event"]))
        return str(self._session.facts.instance)

    def close(self) -> None:
        """Close the client and its loop."""
        self._runner.run(self._client.aclose())
        self._runner.close()


@pytest.mark.parametrize("shell", [OnThreads, OnTasks])
def test_killed_instance_and_its_return(
    shell: Callable[[Settings], Any],
    engine: str,
    instances: dict[str, StandInKato],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The failover, the ejection, the session's moves and the recovery are logged."""
    caplog.set_level(logging.INFO, "kato_consul")

    def fields_of(name: str) -> list[dict[str, Any]]:
        return [record.fields for record in caplog.records if record.event == name]  # type: ignore[attr-defined]

    session = shell(Settings(kato_urls=tuple(instances), engine=engine, trust_env=False))
    try:
        first = session.observe()
        assert caplog.records == []
        (killed,) = [instances[url] for url in instances if url.endswith(first)]
        killed.kill()
        second = session.observe()
        assert second != first
        (ejected,) = fields_of("instance.ejected")
        assert ejected["id"] == first
        (retried,) = fields_of("request.retried")
        assert (retried["request"], retried["id"], retried["attempt"]) == ("observe", second, 2)
        assert retried["why"].startswith(f"{first}: could not connect")
        (moved,) = fields_of("session.moved")
        assert (moved["previous"], moved["instance"]) == (first, second)
        killed.start()
        assert eventually(lambda: session.observe() == first)
        (recovered,) = fields_of("instance.recovered")
        assert recovered["id"] == first
        assert fields_of("session.moved")[-1]["instance"] == first
    finally:
        session.close()
