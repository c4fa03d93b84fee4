"""Configuration: sets values of a session, and refuses those that KATO takes and does not use."""

from collections.abc import Mapping
from typing import Any

from kato_consul._flow import Flow
from kato_consul._kato import writes
from kato_consul._kato.config_readback import require_used
from kato_consul._kato.execute import execute_write
from kato_consul._kato.kato_api import KatoApi
from kato_consul._kato.replacement import require_writable_store
from kato_consul._kato.session_state import SessionState
from kato_consul.errors import ConfigurationError


def set_config(
    api: KatoApi, state: SessionState, deadline: float, *, values: Mapping[str, Any]
) -> Flow[None]:
    """Flow: set values of the session's configuration, and read them back.

    Raises:
        BadRequest: KATO refuses a value.
        ConfigurationError: KATO does not use a value.
        StoreUnavailable: KATO acknowledged them, and its store did not save them.
    """
    yield from execute_write(api, state, deadline, writes.set_config(values))
    try:
        yield from require_used(api, state, values, deadline)
    except ConfigurationError:
        yield from require_writable_store(api, state, deadline)
        raise
