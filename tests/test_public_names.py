"""The public names are a promise: adding one is a decision, losing one a breach."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kato_consul

NAMES = [
    "AsyncDiscovery",
    "AsyncDiscoveryTransport",
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
    "Health",
    "Instance",
    "InstanceFacts",
    "InstanceView",
    "KatoAnswerError",
    "KatoClient",
    "KatoConsulError",
    "KatoError",
    "KatoInstance",
    "KatoNode",
    "LearnResult",
    "NoInstances",
    "NoResponse",
    "NotFound",
    "NotPassing",
    "Observation",
    "ObservationResult",
    "OutcomeUnknown",
    "PerceptData",
    "Policy",
    "PoolView",
    "Prediction",
    "ProbeDefinition",
    "Registrar",
    "RegistrarEvent",
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
    "Severity",
    "Snapshot",
    "Source",
    "StoreUnavailable",
    "TaggedAddress",
    "UnknownService",
    "ValidationFailed",
    "Weights",
    "describe_event",
    "diagnose",
    "parse_duration",
    "queries",
    "read_definitions",
]


def test_names() -> None:
    """These names and no others are public, in order."""
    assert kato_consul.__all__ == NAMES
    assert sorted(NAMES) == NAMES


def test_importable() -> None:
    """Every public name is there, and says what it is."""
    for name in NAMES:
        assert getattr(kato_consul, name).__doc__, name


def test_typed() -> None:
    """What type checkers are told to import is what is imported when asked for."""
    source = Path(kato_consul.__file__).read_text(encoding="utf-8")
    told = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("kato_consul"):
            told.update({alias.name: node.module for alias in node.names})
    assert told == kato_consul._MODULE_OF
    assert set(told) == set(NAMES)


def test_unknown() -> None:
    """A name that is not there is an `AttributeError`, as of any module."""
    with pytest.raises(AttributeError, match="KatoCleint"):
        _ = kato_consul.KatoCleint
    assert set(NAMES) <= set(dir(kato_consul))


def test_import_brings_no_library() -> None:
    """Importing the package, or an error or settings of it, loads none of what it depends on."""
    code = (
        "import sys, kato_consul; kato_consul.NotFound, kato_consul.Settings;"
        "print([m for m in ('asyncio', 'httpx', 'httptools', 'requests', 'consul', 'structlog')"
        " if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize("names", ["AsyncKatoClient, KatoClient", "AsyncRegistrar, Registrar"])
def test_import_of_a_client_or_registrar_loads_no_slow_library(names: str) -> None:
    """py-consul (with requests), structlog (with rich) and tenacity are imported when first used:
    together they take twice as long as the rest of a client."""
    code = (
        f"import sys; from kato_consul import {names};"
        "print([m for m in ('requests', 'consul', 'structlog', 'rich', 'tenacity', 'httpx')"
        " if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_client_without_the_httpx_engine_does_not_import_httpx() -> None:
    """A client with the default engine does not import httpx."""
    code = (
        "import sys; from kato_consul import AsyncKatoClient, KatoClient, Settings;"
        "KatoClient(Settings()); AsyncKatoClient(Settings()); print('httpx' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_from_the_package_itself() -> None:
    """``import *`` brings the public names and nothing else."""
    brought: dict[str, object] = {}
    exec("from kato_consul import *", brought)
    assert brought.keys() - {"__builtins__"} == set(NAMES)


def test_version() -> None:
    """The version is three numbers."""
    assert all(part.isdecimal() for part in kato_consul.__version__.split("."))
    assert kato_consul.__version__.count(".") == 2
