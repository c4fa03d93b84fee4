"""Consul service discovery for KATO: a registrar, and a client that loses no observation.

The names in ``__all__`` are public; everything else may change. A name is imported at its first
use: a program that only registers an instance, or only catches an error, does not load the rest.
"""

from typing import TYPE_CHECKING

from kato_consul._names_at_first_use import names_at_first_use

if TYPE_CHECKING:
    from kato_consul._async.client import AsyncKatoClient
    from kato_consul._async.discovery import AsyncDiscovery
    from kato_consul._async.instances import AsyncKatoInstance, AsyncKatoNode
    from kato_consul._async.registrar import AsyncRegistrar
    from kato_consul._async.session import AsyncSession
    from kato_consul._async.session_directory import AsyncSessionDirectory
    from kato_consul._async.transport import AsyncDiscoveryTransport
    from kato_consul._balancing.pool import InstanceView
    from kato_consul._definitions.check_definition import CheckDefinition
    from kato_consul._definitions.connect_definition import (
        ConnectDefinition,
        ProxyDefinition,
        SidecarDefinition,
        UpstreamDefinition,
    )
    from kato_consul._definitions.document import definition_files
    from kato_consul._definitions.loader import read_definitions
    from kato_consul._definitions.schema import (
        ProbeDefinition,
        ServiceDefinition,
        TaggedAddress,
        Weights,
    )
    from kato_consul._doctor.facts import DeploymentFacts, InstanceFacts
    from kato_consul._doctor.findings import Diagnosis, Finding, Severity
    from kato_consul._durations import parse_duration
    from kato_consul._kato import queries
    from kato_consul._kato.session_state import SessionFacts
    from kato_consul._kato.types import (
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
    from kato_consul._protocols import Policy, PoolView
    from kato_consul._registration.events import EventSink, RegistrarEvent, describe_event
    from kato_consul._secret import Secret
    from kato_consul._sync.client import KatoClient
    from kato_consul._sync.discovery import Discovery
    from kato_consul._sync.doctor import diagnose
    from kato_consul._sync.instances import KatoInstance, KatoNode
    from kato_consul._sync.registrar import Registrar
    from kato_consul._sync.session import Session
    from kato_consul._sync.session_directory import SessionDirectory
    from kato_consul._sync.transport import DiscoveryTransport
    from kato_consul._tracing import trace_id
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
        GatewayRefused,
        IdempotencyKeyReused,
        InvalidObservation,
        KatoAnswerError,
        KatoConsulError,
        KatoError,
        NoInstances,
        NoResponse,
        NotFound,
        NoThread,
        NotPassing,
        OutcomeUnknown,
        PatternNotStored,
        RequestNotSent,
        ServerFailed,
        SessionBusy,
        SessionConflict,
        SessionDirectoryUnavailable,
        SessionGone,
        SessionOwnedElsewhere,
        StillRegistered,
        StoreUnavailable,
        UnknownService,
        ValidationFailed,
    )
    from kato_consul.models import Health, Instance, Position, SessionEntry, Snapshot, Source
    from kato_consul.settings import Settings

__version__ = "0.1.0"

__all__ = [
    "AsyncDiscovery",
    "AsyncDiscoveryTransport",
    "AsyncKatoClient",
    "AsyncKatoInstance",
    "AsyncKatoNode",
    "AsyncRegistrar",
    "AsyncSession",
    "AsyncSessionDirectory",
    "BadRequest",
    "CheckDefinition",
    "ClientClosed",
    "CognitionData",
    "ConfigurationError",
    "ConnectDefinition",
    "ConsulDenied",
    "ConsulError",
    "ConsulRejected",
    "ConsulUnavailable",
    "ConsulUnreachable",
    "DefinitionError",
    "DeploymentFacts",
    "Diagnosis",
    "Discovery",
    "DiscoveryError",
    "DiscoveryTransport",
    "Event",
    "EventSink",
    "Fault",
    "FinalizeResult",
    "Finding",
    "GatewayRefused",
    "Health",
    "IdempotencyKeyReused",
    "Instance",
    "InstanceFacts",
    "InstanceView",
    "InvalidObservation",
    "KatoAnswerError",
    "KatoClient",
    "KatoConsulError",
    "KatoError",
    "KatoInstance",
    "KatoNode",
    "LearnResult",
    "NoInstances",
    "NoResponse",
    "NoThread",
    "NotFound",
    "NotPassing",
    "Observation",
    "ObservationResult",
    "OutcomeUnknown",
    "PatternNotStored",
    "PerceptData",
    "Policy",
    "PoolView",
    "Position",
    "Prediction",
    "ProbeDefinition",
    "ProxyDefinition",
    "Registrar",
    "RegistrarEvent",
    "RequestNotSent",
    "Secret",
    "SequenceResult",
    "ServerFailed",
    "ServiceDefinition",
    "Session",
    "SessionBusy",
    "SessionConflict",
    "SessionDirectory",
    "SessionDirectoryUnavailable",
    "SessionEntry",
    "SessionFacts",
    "SessionGone",
    "SessionInfo",
    "SessionOwnedElsewhere",
    "Settings",
    "Severity",
    "SidecarDefinition",
    "Snapshot",
    "Source",
    "StillRegistered",
    "StoreUnavailable",
    "TaggedAddress",
    "UnknownService",
    "UpstreamDefinition",
    "ValidationFailed",
    "Weights",
    "definition_files",
    "describe_event",
    "diagnose",
    "parse_duration",
    "queries",
    "read_definitions",
    "trace_id",
]

_MODULES = {
    "kato_consul._balancing.pool": ("InstanceView",),
    "kato_consul._async.client": ("AsyncKatoClient",),
    "kato_consul._async.discovery": ("AsyncDiscovery",),
    "kato_consul._async.instances": (
        "AsyncKatoInstance",
        "AsyncKatoNode",
    ),
    "kato_consul._async.registrar": ("AsyncRegistrar",),
    "kato_consul._async.session": ("AsyncSession",),
    "kato_consul._async.session_directory": ("AsyncSessionDirectory",),
    "kato_consul._async.transport": ("AsyncDiscoveryTransport",),
    "kato_consul._sync.client": ("KatoClient",),
    "kato_consul._sync.discovery": ("Discovery",),
    "kato_consul._sync.instances": (
        "KatoInstance",
        "KatoNode",
    ),
    "kato_consul._sync.registrar": ("Registrar",),
    "kato_consul._sync.session": ("Session",),
    "kato_consul._sync.session_directory": ("SessionDirectory",),
    "kato_consul._sync.transport": ("DiscoveryTransport",),
    "kato_consul.errors": (
        "BadRequest",
        "ClientClosed",
        "ConfigurationError",
        "ConsulDenied",
        "ConsulError",
        "ConsulRejected",
        "ConsulUnavailable",
        "ConsulUnreachable",
        "DefinitionError",
        "DiscoveryError",
        "Fault",
        "GatewayRefused",
        "IdempotencyKeyReused",
        "InvalidObservation",
        "KatoAnswerError",
        "KatoConsulError",
        "KatoError",
        "NoResponse",
        "NoThread",
        "NoInstances",
        "NotFound",
        "NotPassing",
        "OutcomeUnknown",
        "PatternNotStored",
        "RequestNotSent",
        "ServerFailed",
        "SessionBusy",
        "SessionConflict",
        "SessionDirectoryUnavailable",
        "SessionGone",
        "SessionOwnedElsewhere",
        "StillRegistered",
        "StoreUnavailable",
        "UnknownService",
        "ValidationFailed",
    ),
    "kato_consul._protocols": ("Policy", "PoolView"),
    "kato_consul.models": (
        "Health",
        "Instance",
        "Position",
        "SessionEntry",
        "Snapshot",
        "Source",
    ),
    "kato_consul._definitions.check_definition": ("CheckDefinition",),
    "kato_consul._definitions.connect_definition": (
        "ConnectDefinition",
        "ProxyDefinition",
        "SidecarDefinition",
        "UpstreamDefinition",
    ),
    "kato_consul._definitions.document": ("definition_files",),
    "kato_consul._definitions.schema": (
        "ProbeDefinition",
        "ServiceDefinition",
        "TaggedAddress",
        "Weights",
    ),
    "kato_consul._definitions.loader": ("read_definitions",),
    "kato_consul._doctor.facts": ("DeploymentFacts", "InstanceFacts"),
    "kato_consul._doctor.findings": ("Diagnosis", "Finding", "Severity"),
    "kato_consul._durations": ("parse_duration",),
    "kato_consul._registration.events": ("EventSink", "RegistrarEvent", "describe_event"),
    "kato_consul._sync.doctor": ("diagnose",),
    "kato_consul._kato": ("queries",),
    "kato_consul._kato.types": (
        "CognitionData",
        "Event",
        "FinalizeResult",
        "LearnResult",
        "Observation",
        "ObservationResult",
        "PerceptData",
        "Prediction",
        "SequenceResult",
        "SessionInfo",
    ),
    "kato_consul._kato.session_state": ("SessionFacts",),
    "kato_consul._secret": ("Secret",),
    "kato_consul._tracing": ("trace_id",),
    "kato_consul.settings": ("Settings",),
}
"""The module of each public name, equal to the imports for type checkers above."""

__getattr__, __dir__ = names_at_first_use(__name__, _MODULES)
