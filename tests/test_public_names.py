"""The public names are a promise: adding one is a decision, losing one a breach."""

import kato_consul

NAMES = [
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


def test_names() -> None:
    """These names and no others are public, in order."""
    assert kato_consul.__all__ == NAMES
    assert sorted(NAMES) == NAMES


def test_importable() -> None:
    """Every public name is there, and says what it is."""
    for name in NAMES:
        assert getattr(kato_consul, name).__doc__, name


def test_from_the_package_itself() -> None:
    """``import *`` brings the public names and nothing else."""
    brought: dict[str, object] = {}
    exec("from kato_consul import *", brought)
    assert brought.keys() - {"__builtins__"} == set(NAMES)


def test_version() -> None:
    """The version is three numbers."""
    assert all(part.isdecimal() for part in kato_consul.__version__.split("."))
    assert kato_consul.__version__.count(".") == 2
