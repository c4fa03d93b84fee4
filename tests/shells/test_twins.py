"""The sync and the async faces say the same: methods, parameters, defaults, words."""

import inspect
import re
from typing import Any

import pytest

import kato_consul
from kato_consul import (
    AsyncDiscovery,
    AsyncDiscoveryTransport,
    AsyncKatoClient,
    AsyncKatoInstance,
    AsyncKatoNode,
    AsyncRegistrar,
    AsyncSession,
    Discovery,
    DiscoveryTransport,
    KatoClient,
    KatoInstance,
    KatoNode,
    Registrar,
    Session,
)

TWINS = [
    (AsyncDiscovery, Discovery),
    (AsyncDiscoveryTransport, DiscoveryTransport),
    (AsyncKatoClient, KatoClient),
    (AsyncKatoInstance, KatoInstance),
    (AsyncKatoNode, KatoNode),
    (AsyncRegistrar, Registrar),
    (AsyncSession, Session),
]


ONE_SIDED = {"lifespan"}
"""For ASGI, which has no sync side."""


def described(face: type) -> dict[str, tuple[list[str], str]]:
    """A face's public methods: their parameters and words, without what tells async from sync."""
    found = {}
    for name, member in inspect.getmembers(face):
        if name.startswith("_") or name in ONE_SIDED:
            continue
        called: Any = member.fget if isinstance(member, property) else member
        parameters = inspect.signature(called).parameters
        given = [f"{one} {one.default}" for one in parameters.values()]
        words = re.sub(r"Async|\bawait |\basync ", "", f"{given} {inspect.getdoc(called)}")
        found[re.sub("^aclose$", "close", name).replace("_async_", "_")] = (list(parameters), words)
    return found


@pytest.mark.parametrize(("asynchronous", "synchronous"), TWINS)
def test_twins(asynchronous: type, synchronous: type) -> None:
    """Whatever one has, the other has, and says so in the same words."""
    assert described(asynchronous) == described(synchronous)


def test_all_twins_are_known() -> None:
    """No public Async name is without its twin."""
    asynchronous = {name for name in kato_consul.__all__ if name.startswith("Async")}
    assert asynchronous == {one.__name__ for one, _ in TWINS}
    assert {name.removeprefix("Async") for name in asynchronous} <= set(kato_consul.__all__)
