"""Trace ids: which are accepted, where they are current, and what shows them."""

import asyncio
import copy
import logging
import pickle
import threading
from typing import Any

import pytest

from kato_consul import ConfigurationError, KatoConsulError, Settings, trace_id
from kato_consul._async.driver import AsyncDriver
from kato_consul._logging import logger
from kato_consul._tracing import current_trace_id


@pytest.mark.parametrize("value", ["", "a b", "a\r\nx: y", "\u00fc", "x" * 129])
def test_value_that_no_header_can_carry_is_refused(value: str) -> None:
    """At once, and not when the request is sent."""
    with pytest.raises(ConfigurationError, match="a trace id has"), trace_id(value):
        pass


def test_blocks_are_nested_and_end() -> None:
    """The inner one counts; None stands for no trace id; after an error there is none either."""
    with pytest.raises(KeyError), trace_id("outer"):
        with trace_id("inner"):
            assert current_trace_id() == "inner"
        with trace_id(None):
            assert current_trace_id() == ""
        assert current_trace_id() == "outer"
        raise KeyError
    assert current_trace_id() == ""


def test_other_threads_have_none() -> None:
    """The id is that of the thread or task."""
    seen: list[str] = []
    with trace_id("here"):
        thread = threading.Thread(target=lambda: seen.append(current_trace_id()))
        thread.start()
        thread.join()
    assert seen == [""]


def test_error_keeps_its_trace_id() -> None:
    """Also when it is copied or pickled."""
    error = KatoConsulError("it failed")
    assert str(error) == "it failed"
    error.trace_id = "call-1"
    for same in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (same.trace_id, str(same)) == ("call-1", "it failed (trace id call-1)")


def test_log_events_have_it(caplog: pytest.LogCaptureFixture) -> None:
    """As a field, in the block only."""
    log = logger("test")
    log.warning("one")
    with trace_id("call-1"):
        log.warning("two", key="a")
    one, two = caplog.records
    fields: list[Any] = [vars(record)["fields"] for record in (one, two)]
    assert fields == [{}, {"key": "a", "trace_id": "call-1"}]
    assert two.levelno == logging.WARNING


def test_background_work_has_none() -> None:
    """It outlives the call in which it starts, such as the watch of a client."""
    seen: list[str] = []

    async def start_in_a_block() -> None:
        async def work() -> None:
            seen.append(current_trace_id())

        driver = AsyncDriver(Settings(trust_env=False))
        with trace_id("call-1"):
            await driver.start_work(work, "work")
        await driver.aclose()

    asyncio.run(start_in_a_block())
    assert seen == [""]
