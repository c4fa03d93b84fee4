"""What a registrar is given in place of a list of definitions."""

from typing import Any

import pytest

from kato_consul import AsyncRegistrar, DefinitionError, Registrar, ServiceDefinition

ONE = ServiceDefinition(name="kato", port=8000)


@pytest.mark.parametrize("kind", [Registrar, AsyncRegistrar])
@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        ({"name": "kato"}, "the definitions are no list, but dict"),
        ("kato.toml", "the definitions are no list, but str"),
        (ONE, "the definitions are no list, but ServiceDefinition"),
        ([ONE, {"name": "kato"}], "definition 2 is no ServiceDefinition, but dict"),
    ],
)
def test_what_is_no_list_of_definitions_is_refused(
    kind: type[Registrar | AsyncRegistrar], given: Any, mistake: str
) -> None:
    """At once, with what to give instead."""
    with pytest.raises(DefinitionError, match=mistake) as caught:
        kind(given)
    assert "Give a list of ServiceDefinition objects" in str(caught.value)


def test_definitions_may_come_from_a_generator() -> None:
    """They are read once."""
    with pytest.raises(DefinitionError, match="used 2 times"):
        Registrar(one for one in (ONE, ONE))  # type: ignore[arg-type]
    registrar = Registrar([ONE])
    with pytest.raises(DefinitionError, match="the definitions are no list, but dict"):
        registrar.replace({"name": "kato"})  # type: ignore[arg-type]
    registrar.close()
