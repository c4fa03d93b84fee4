"""Callers of shared sessions, and what a call has to answer while the directory does not."""

import threading
import time

import pytest

from kato_consul.errors import SessionDirectoryUnavailable
from kato_consul.testing.history import History, check
from tests.shared_sessions.clients import WITHIN, Session, Shell
from tests.shared_sessions.site import Site
from tests.testing.waiting import eventually

GRACE = 1.5
"""Seconds after its deadline in which a call has to end: one request, on a busy machine."""


def other(shell: Shell) -> Shell:
    """Return the other shell: two clients of a test are one of each."""
    return "async" if shell == "sync" else "sync"


def owns(session: Session) -> bool:
    """Return whether the session's client owns it, under a valid lease."""
    own = session.real._state.ownership
    return own is not None and own.held is not None and own.held.lease.is_valid()


def has_lost(session: Session) -> bool:
    """Return whether the lease under which the session's client owned it is lost for good."""
    own = session.real._state.ownership
    return own is not None and (own.held is None or own.held.lease.lost)


class Callers:
    """Callers that observe one event after the other, until they are told to stop."""

    def __init__(self, *sessions: Session) -> None:
        self.history = History()
        self.counts = [0] * len(sessions)
        self.unexpected: list[BaseException] = []
        self._stopped = threading.Event()
        self._sessions = sessions
        self._threads = [
            threading.Thread(target=self._observe, args=(number, session))
            for number, session in enumerate(sessions)
        ]
        for thread in self._threads:
            thread.start()

    def _observe(self, caller: int, session: Session) -> None:
        number = 0
        while not self._stopped.is_set():
            event = [f"{caller}-{number:04}"]
            number += 1
            try:
                with self.history.call(session.key, event) as call:
                    session.observe(event)
            except BaseException as error:  # noqa: BLE001
                self.unexpected.append(error)
                return
            if call.acknowledged:
                self.counts[caller] += 1

    def stopped(self) -> bool:
        """Return whether a caller has got an error that no outage explains."""
        return bool(self.unexpected)

    def progress(self) -> bool:
        """Wait until each has observed five events more."""
        before = list(self.counts)
        return eventually(
            lambda: (
                bool(self.unexpected)
                or all(now >= then + 5 for now, then in zip(self.counts, before, strict=True))
            )
        )

    def stop(self) -> None:
        """Let each end its call, and make no other."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(WITHIN)
        assert not self.unexpected

    def finish(self, site: Site) -> None:
        """Stop, and check that each acknowledged event is in KATO once, and no other."""
        self.stop()
        session = self._sessions[0]
        session.stm()  # it acquires the session, so its id is the one of now
        report = check(self.history, {session.key: site.stored(session.id)})
        assert report.consistent, report


def unavailable(site: Site, session: Session, deadline: float) -> SessionDirectoryUnavailable:
    """Make a call that the directory does not serve; check its error, and return it."""
    started = time.monotonic()
    with pytest.raises(SessionDirectoryUnavailable) as caught:
        session.observe(["refused"])
    assert time.monotonic() - started < deadline + GRACE
    error = caught.value
    text = str(error)
    assert error.sent is False
    assert error.directory.startswith("Consul at" if site.kind == "consul" else "Redis at")
    assert error.directory in text
    assert text.startswith("observe")
    assert "Nothing was sent to KATO" in text
    return error
