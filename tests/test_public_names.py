"""Public names: they are part of the interface, and are listed here to make changes deliberate."""

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import kato_consul
import kato_consul.testing

NAMES = [
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


def test_all_has_exactly_the_public_names() -> None:
    """``__all__`` has these names and no others, sorted."""
    assert kato_consul.__all__ == NAMES
    assert sorted(NAMES) == NAMES


def test_every_public_name_is_documented() -> None:
    """Every public name can be imported, and has a docstring."""
    for name in NAMES:
        assert getattr(kato_consul, name).__doc__, name


@pytest.mark.parametrize("package", [kato_consul, kato_consul.testing], ids=["core", "testing"])
def test_type_checkers_import_what_is_imported_at_run_time(package: ModuleType) -> None:
    """The imports for type checkers name the same modules as the lazy imports."""
    assert package.__file__
    source = Path(package.__file__).read_text(encoding="utf-8")
    (for_type_checkers,) = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    typed = {
        alias.name: node.module
        for node in for_type_checkers.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == {name: module for module, names in package._MODULES.items() for name in names}
    assert set(typed) == set(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that does not exist raises `AttributeError`, as in any module."""
    with pytest.raises(AttributeError, match="KatoCleint"):
        _ = kato_consul.KatoCleint
    assert set(NAMES) <= set(dir(kato_consul))


def test_import_of_the_package_loads_no_library() -> None:
    """Importing the package, an error or the settings loads none of the dependencies."""
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


def test_import_star_imports_the_public_names() -> None:
    """``import *`` imports the public names and nothing else."""
    namespace: dict[str, object] = {}
    exec("from kato_consul import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(NAMES)


def test_version_is_three_numbers() -> None:
    """The version is three numbers."""
    assert all(part.isdecimal() for part in kato_consul.__version__.split("."))
    assert kato_consul.__version__.count(".") == 2


def test_process_of_a_stand_in_loads_no_client() -> None:
    """A stand-in starts without what the other test tools need: tests start many of them."""
    code = (
        "import sys, kato_consul.testing.kato.serve;"
        "print([m for m in ('httpx', 'consul', 'structlog') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
