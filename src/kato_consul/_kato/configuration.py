"""Configuration: sets values of a session, and refuses those that KATO takes and does not use."""

from collections.abc import Mapping
from typing import Any

from kato_consul._directory.entry import check_given
from kato_consul._flow import Flow
from kato_consul._kato import writes
from kato_consul._kato.call_part import CallPart
from kato_consul._kato.config_check import check_config, require_used
from kato_consul._kato.execute import execute_write
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.ownership import LeaseLost
from kato_consul._kato.plain_json import copied_json
from kato_consul._kato.reconcile import reconcile
from kato_consul._kato.replacement import require_writable_store
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import (
    ConfigurationError,
    KatoAnswerError,
    NoResponse,
    OutcomeUnknown,
    RequestNotSent,
    SessionGone,
    StoreUnavailable,
)


def set_config(
    api: KatoApi,
    state: SessionState,
    deadline: float,
    *,
    values: Mapping[str, Any],
    any_length: bool = False,
    part: CallPart | None = None,
) -> Flow[None]:
    """Flow: set values of the session's configuration, and read them back. ``any_length``: see
    `check_config`. ``part`` is what this is of a call that may be repeated.

    Raises:
        BadRequest: KATO refuses a value.
        ConfigurationError: a value is not JSON, KATO does not use it, or the session is shared with
            other processes, and its configuration is too large for that.
        OutcomeUnknown: KATO acknowledged them, and they could not be read back.
        StoreUnavailable: KATO acknowledged them, and its store did not save them.
    """
    values = copied_json(values, "the configuration")
    check_config(values, any_length=any_length)
    if api.owner is not None:
        config = {**state.journal.config, **values}
        check_given(state.key, state.node_id, state.metadata, config)
    write = writes.set_config(values).of(part)
    yield from execute_write(api, state, deadline, write)
    try:
        yield from _read_back(api, state, values, deadline)
    except LeaseLost:
        return  # they were recorded, and another process may have set others since
    except ConfigurationError:
        yield from require_writable_store(api, state, deadline)
        raise
    except (KatoAnswerError, NoResponse, RequestNotSent, StoreUnavailable) as error:
        state.pending = write  # the next call reads whether KATO uses them
        reason = "acknowledged, and not read back"
        raise OutcomeUnknown(write.what, state.instance or "", reason).because(error) from error
    if values.get("process_predictions") is True:
        state.nodes.starts_predicting(state.key, state.node_id)


def _read_back(
    api: KatoApi, state: SessionState, values: Mapping[str, Any], deadline: float
) -> Flow[None]:
    """Flow: read back values that were set; a session that was lost since is opened with them.

    If the lease was lost meanwhile, another process may have found them set, and then have set
    others, or deleted the session. So these are not to be read back.
    """
    config = state.journal.config
    if state.id is None or any(config.get(name) != value for name, value in values.items()):
        return
    try:
        yield from require_used(api, state, values, deadline)
    except SessionGone:
        yield from reconcile(api, state, deadline)
        yield from require_used(api, state, values, deadline)
