"""Check of a configuration: before it is sent, and what KATO then uses of it.

KATO takes names and values that it does not use (measured on 3.10.1: an unknown name, a
``stm_mode`` in lower case). A session that is opened again would not have them.
"""

from collections.abc import Mapping
from typing import Any

from kato_consul._flow import Flow
from kato_consul._kato import response_shapes as shapes
from kato_consul._kato.journal import MAX_STM_EVENTS
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.session_state import SessionState
from kato_consul._requests.request import Request
from kato_consul.errors import ConfigurationError


def check_config(values: Mapping[str, Any], *, any_length: bool = False) -> None:
    """Check the values that the journal depends on.

    KATO takes True for a number, and lengths that no memory reaches, which are most likely a
    mistake: ``any_length`` allows them.

    Raises:
        ConfigurationError: ``max_pattern_length`` is a bool, or longer than a memory.
    """
    length = values.get("max_pattern_length")
    too_long = isinstance(length, int) and length > MAX_STM_EVENTS and not any_length
    if isinstance(length, bool) or too_long:
        raise ConfigurationError(
            f"max_pattern_length is {length!r}; valid are 0 (never) to {MAX_STM_EVENTS}, the "
            f"number of events that KATO keeps"
        )


def read_config(api: KatoApi, state: SessionState, deadline: float) -> Flow[dict[str, Any]]:
    """Flow: return the configuration that KATO uses for the session, defaults included."""
    request = Request(
        "reading the configuration",
        "GET",
        f"/sessions/{state.id}/config",
        repeatable=True,
        timeout=api.attempt_timeout,
        shape=shapes.Config,
    )
    response = yield from api.call_session(request, state, deadline)
    config: dict[str, Any] = response["config"]
    return config


def rejected(values: Mapping[str, Any], used: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``values`` that are not among the values ``used``. None means a default."""
    return {
        name: value
        for name, value in values.items()
        if value is not None and (name not in used or used[name] != value)
    }


def require_used(
    api: KatoApi, state: SessionState, values: Mapping[str, Any], deadline: float
) -> Flow[None]:
    """Flow: read back values that were set, and record what KATO uses of them in the journal.

    Raises:
        ConfigurationError: KATO does not use a value. The others are set, and the session goes on
            with the value that KATO uses.
    """
    used = yield from read_config(api, state, deadline)
    config = {name: value for name, value in state.journal.config.items() if name not in values}
    config.update({name: used[name] for name in values if name in used})
    state.journal = state.journal.configured(config, used)
    if unused := rejected(values, used):
        refused = ConfigurationError(
            f"KATO does not use {unused}: {_instead(unused, used)}. "
            f"The other values of this call are set"
        )
        refused.sent = True
        raise refused


def _instead(values: Mapping[str, Any], used: Mapping[str, Any]) -> str:
    """Return what KATO uses in place of values, as text."""
    return "; ".join(
        f"{name} is {used[name]!r}" if name in used else f"it has no setting {name!r}"
        for name in values
    )
