"""Response shapes: the parts of KATO's responses that this package reads, with their types.

A response is validated against its shape once, when it is decoded (`decode_reply`). What does not
have it is not KATO's: a proxy answered, or KATO failed. Fields that a shape does not name are
neither checked nor removed: callers get KATO's JSON object itself.

All shapes are made ready when this module is imported. msgspec does it at the first use of a type
otherwise, and crashes if another thread uses the type meanwhile (msgspec 0.22). For the same reason
every other type has its decoder in the module that defines it.
"""

from typing import Annotated, Any

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Events = list[list[str]]

SessionId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._~:-]+$")]
"""KATO's ids are ``session-<hex>-<milliseconds>`` (measured on KATO 3.10.1). An id is a part of the
paths of later requests, so it has only characters that are not escaped there."""


class Status(msgspec.Struct, gc=False):
    """The response to a write that returns no counter."""

    status: str


class Observed(msgspec.Struct, gc=False):
    """The response to ``observe``."""

    time: Count
    stm_length: Count


class ObservedInSequence(msgspec.Struct, gc=False):
    """One entry of ``results`` in the response to ``observe-sequence``."""

    time: Count


class ObservedSequence(msgspec.Struct, gc=False):
    """The response to ``observe-sequence``."""

    results: list[ObservedInSequence]
    final_stm_length: Count
    initial_stm_length: Count = 0
    auto_learned_patterns: tuple[str | None, ...] = ()


class Learned(msgspec.Struct, gc=False):
    """The response to ``learn``."""

    pattern_name: str | None


class SessionConfig(msgspec.Struct, gc=False):
    """The effective configuration of a session: what the journal depends on."""

    max_pattern_length: Count | None = None
    stm_mode: str | None = None


class CreatedSession(msgspec.Struct, gc=False):
    """The response to ``POST /sessions``."""

    session_id: SessionId
    session_config: SessionConfig | None = None
    ttl_seconds: Count | None = None


class Session(msgspec.Struct, gc=False):
    """The response to ``GET /sessions/<id>``."""

    session_id: str
    node_id: str


class Config(msgspec.Struct, gc=False):
    """The response to ``GET …/config``."""

    config: SessionConfig


class Exists(msgspec.Struct, gc=False):
    """The response to ``GET …/exists``."""

    exists: bool


class Stm(msgspec.Struct, gc=False):
    """The response to ``GET …/stm``."""

    stm: Events


class CounterAndStm(msgspec.Struct, gc=False):
    """The counter and the short-term memory in `Cognition`."""

    time: Count
    short_term_memory: Events


class Cognition(msgspec.Struct, gc=False):
    """The response to ``GET …/cognition-data``."""

    cognition_data: CounterAndStm


class Percept(msgspec.Struct, gc=False):
    """The response to ``GET …/percept-data``."""

    percept_data: dict[str, Any]


class PredictedPattern(msgspec.Struct, gc=False):
    """One entry of `Predictions`. A part is a list of events, or of symbols: see `reads`."""

    past: list[str | list[str]]
    present: list[str | list[str]]
    future: list[str | list[str]]


class Predictions(msgspec.Struct, gc=False):
    """The response to ``GET …/predictions``."""

    predictions: list[PredictedPattern]


class CognitionPredictions(CounterAndStm, gc=False):
    """`CounterAndStm`, and the predictions of the last observation."""

    predictions: list[PredictedPattern]


class CognitionWithPredictions(msgspec.Struct, gc=False):
    """The response to ``GET …/cognition-data``, for callers."""

    cognition_data: CognitionPredictions


for _shape in [one for one in vars().values() if isinstance(one, msgspec.StructMeta)]:
    msgspec.json.Decoder(_shape)
