"""Consul service discovery for KATO: a registrar, and a client that loses nothing.

The public names are those in ``__all__``; everything else may move.
"""

from kato_consul.drivers.aio.client import AsyncKatoClient
from kato_consul.drivers.aio.discovery import AsyncDiscovery
from kato_consul.drivers.aio.instances import AsyncKatoInstance, AsyncKatoNode
from kato_consul.drivers.aio.registrar import AsyncRegistrar
from kato_consul.drivers.aio.session import AsyncSession
from kato_consul.drivers.sync.client import KatoClient
from kato_consul.drivers.sync.discovery import Discovery
from kato_consul.drivers.sync.instances import KatoInstance, KatoNode
from kato_consul.drivers.sync.registrar import Registrar
from kato_consul.drivers.sync.session import Session
from kato_consul.errors import (
    BadRequest,
    ClientClosed,
    ConfigurationError,
    ConsulDenied,
    ConsulError,
    ConsulRejected,
    ConsulUnavailable,
    ConsulUnreachable,
    DefinitionError,
    DiscoveryError,
    Fault,
    KatoAnswerError,
    KatoConsulError,
    KatoError,
    NoAnswer,
    NoInstances,
    NotFound,
    NotPassing,
    OutcomeUnknown,
    RequestNotSent,
    ServerFailed,
    SessionConflict,
    SessionGone,
    StoreAway,
    UnknownService,
    ValidationFailed,
)
from kato_consul.model import Health, Instance, Snapshot, Source
from kato_consul.registry.definition import (
    CheckDefinition,
    ProbeDefinition,
    ServiceDefinition,
    TaggedAddress,
    Weights,
)
from kato_consul.sessions import queries
from kato_consul.sessions.answers import (
    CognitionData,
    Event,
    FinalizeResult,
    LearnResult,
    Observation,
    ObservationResult,
    PerceptData,
    Prediction,
    SequenceResult,
    SessionInfo,
)
from kato_consul.sessions.state import SessionFacts
from kato_consul.settings import Secret, Settings

__version__ = "0.1.0"

__all__ = [
    "AsyncDiscovery",
    "AsyncKatoClient",
    "AsyncKatoInstance",
    "AsyncKatoNode",
    "AsyncRegistrar",
    "AsyncSession",
    "BadRequest",
    "CheckDefinition",
    "ClientClosed",
    "CognitionData",
    "ConfigurationError",
    "ConsulDenied",
    "ConsulError",
    "ConsulRejected",
    "ConsulUnavailable",
    "ConsulUnreachable",
    "DefinitionError",
    "Discovery",
    "DiscoveryError",
    "Event",
    "Fault",
    "FinalizeResult",
    "Health",
    "Instance",
    "KatoAnswerError",
    "KatoClient",
    "KatoConsulError",
    "KatoError",
    "KatoInstance",
    "KatoNode",
    "LearnResult",
    "NoAnswer",
    "NoInstances",
    "NotFound",
    "NotPassing",
    "Observation",
    "ObservationResult",
    "OutcomeUnknown",
    "PerceptData",
    "Prediction",
    "ProbeDefinition",
    "Registrar",
    "RequestNotSent",
    "Secret",
    "SequenceResult",
    "ServerFailed",
    "ServiceDefinition",
    "Session",
    "SessionConflict",
    "SessionFacts",
    "SessionGone",
    "SessionInfo",
    "Settings",
    "Snapshot",
    "Source",
    "StoreAway",
    "TaggedAddress",
    "UnknownService",
    "ValidationFailed",
    "Weights",
    "queries",
]
