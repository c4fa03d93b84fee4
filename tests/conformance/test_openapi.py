"""OpenAPI description: endpoints, parameters and bodies are those of the recorded one.

Prose (titles, descriptions) is left out, and references are replaced by what they refer to.
"""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.conformance.conftest import Pool

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "operations.json").read_text())
PROSE = ("title", "description")


def test_endpoints_parameters_and_bodies(pool: Pool, http: httpx.Client) -> None:
    """The description has the recorded ones, and no other."""
    described = operations(http.get(f"{pool.urls[0]}/openapi.json").json())
    assert described.keys() == RECORDED.keys()
    for endpoint, operation in described.items():
        assert operation == RECORDED[endpoint], endpoint


def operations(description: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters and the body of each endpoint."""
    schemas = description["components"]["schemas"]
    return {
        f"{method.upper()} {path}": {
            "parameters": plain(operation.get("parameters", []), schemas),
            "body": plain(operation.get("requestBody"), schemas),
            "deprecated": operation.get("deprecated", False),
        }
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }


def plain(value: Any, schemas: dict[str, Any], *, names: bool = False) -> Any:
    """Return a schema without prose and references; `names`: its keys are names of fields."""
    if isinstance(value, list):
        return [plain(item, schemas) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return plain(schemas[value["$ref"].rpartition("/")[2]], schemas)
    return {
        key: plain(item, schemas, names=key == "properties")
        for key, item in value.items()
        if names or key not in PROSE
    }
