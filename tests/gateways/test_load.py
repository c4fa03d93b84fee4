"""Callers that know nothing: one session each, one call after the other, without any retry; and
what changes cost them."""

import http.client
import itertools
import threading
from collections import Counter
from pathlib import Path
from typing import Self

from kato_consul import Registrar
from kato_consul.errors import Fault, KatoConsulError
from kato_consul.testing import Fleet, History, HistoryReport, check, read_session
from kato_consul.testing.kato.memory import STM_BOUND
from kato_consul.testing.ports import HOST
from tests.gateways.site import ANSWER_WITHIN, GatewaySite, call_on, gateway_site, put
from tests.testing.waiting import eventually


class CallLost(KatoConsulError):
    """A call got no answer, or an error: it was applied or not."""

    fault = Fault.KATO
    sent = None
    safe_to_resend = None


class Callers:
    """Callers through a gateway, as a context manager; they call until its end.

    Those with an even number keep their connection; the others use a new one for each call.
    """

    def __init__(self, site: GatewaySite, count: int = 6) -> None:
        self.history = History()
        self.sessions: dict[str, str] = {}
        self.lost: Counter[str] = Counter()
        self._site = site
        self._ended = threading.Event()
        self._threads = []
        for number in range(count):
            key = f"caller-{number}"
            status, session = site.call("POST", "/sessions", {"node_id": key})
            assert status == 200, session
            self.sessions[key] = session["session_id"]
            self._threads.append(threading.Thread(target=self._call, args=(key, number % 2 == 0)))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int = 3) -> None:
        """Wait until each caller has made so many calls more."""
        before = self._calls()
        assert eventually(lambda: all(self._calls()[key] >= before[key] + count for key in before))

    def report(self, url: str) -> HistoryReport:
        """Compare what was acknowledged with what an instance has."""
        finals = {key: read_session(url, one) for key, one in self.sessions.items()}
        return check(self.history, finals)

    def _calls(self) -> dict[str, int]:
        calls = tuple(self.history.calls)
        counts = Counter(one.key for one in calls if one.acknowledged is not None)
        return {key: counts[key] for key in self.sessions}

    def _call(self, key: str, keep: bool) -> None:
        connection = http.client.HTTPConnection(HOST, self._site.server.port, timeout=ANSWER_WITHIN)
        path = f"/sessions/{self.sessions[key]}/observe"
        for number in itertools.islice(itertools.count(), STM_BOUND - 1):
            if self._ended.wait(0.03):  # so that a session does not reach what KATO keeps
                break
            with self.history.call(key, [f"{key}-{number}"]):
                try:
                    status, answer = call_on(
                        connection, "POST", path, {"strings": [f"{key}-{number}"]}
                    )
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    self.lost[key] += 1
                    raise CallLost(repr(error)) from error
                if status != 200:
                    self.lost[key] += 1
                    raise CallLost(f"{status}: {answer}")
            if not keep:
                connection.close()
        connection.close()


def test_changes_cost_nothing_and_a_crash_what_was_in_flight(kind: str, tmp_path: Path) -> None:
    """An instance is added, drained and taken back without a failed call; one that is killed
    costs each caller one call at most. No call is applied twice."""
    with Fleet(3) as fleet:
        two = fleet.definitions[:2]
        with (
            Registrar(two, fleet.settings) as registrar,
            gateway_site(kind, fleet.agent, "kato", tmp_path) as site,
            Callers(site) as callers,
        ):
            callers.wait_for_more()
            registrar.replace(fleet.definitions)
            site.wait_for("3 instances of kato: written")
            callers.wait_for_more()
            for enable, count in (("true", 2), ("false", 3)):
                put(fleet.agent, f"service/maintenance/kato-1?enable={enable}")
                site.wait_for(f"{count} instance")
                callers.wait_for_more()
            assert not callers.lost
            fleet.instances["kato-2"].kill()
            callers.wait_for_more()
            site.wait_for("2 instances of kato: written")
            callers.wait_for_more()
        report = callers.report(fleet.instances["kato-3"].url)
        assert report.consistent, report
        assert report.acknowledged > 100
        assert all(count == 1 for count in callers.lost.values()), callers.lost
