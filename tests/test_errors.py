"""The tree of errors: each says whose fault, whether it was sent, and if sending again is safe."""

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kato_consul
from kato_consul import errors
from kato_consul.errors import Fault, KatoConsulError

AT = "http://consul.test:8500"

# The error; whose fault; was it sent; may it be sent again.
TABLE: list[tuple[KatoConsulError, Fault, bool | None, bool | None]] = [
    (errors.ConfigurationError("bad"), Fault.CALLER, False, False),
    (errors.DefinitionError(["a", "b"]), Fault.CALLER, False, False),
    (errors.ClientClosed("closed"), Fault.CALLER, False, False),
    (errors.ConsulError("bad"), Fault.CONSUL, True, True),
    (errors.ConsulUnreachable(AT, "refused"), Fault.NETWORK, False, True),
    (errors.ConsulUnreachable(AT, "silent", sent=True), Fault.NETWORK, True, True),
    (errors.ConsulUnavailable(AT, 503, "busy", None), Fault.CONSUL, True, True),
    (errors.ConsulDenied(AT, "listing services", "no"), Fault.CALLER, True, False),
    (errors.ConsulRejected(AT, "listing services", 400, "no"), Fault.CALLER, True, False),
    (errors.NotPassing(60, {"kato-1": "critical"}), Fault.KATO, True, True),
    (errors.DiscoveryError("nobody"), Fault.KATO, False, True),
    (errors.UnknownService("kato", ["consul"]), Fault.CALLER, False, True),
    (errors.NoInstances("kato", "none is passing"), Fault.KATO, False, True),
    (errors.KatoError("bad"), Fault.KATO, False, True),
    (errors.RequestNotSent("nobody took it"), Fault.NETWORK, False, True),
    (errors.NoResponse("nobody answered"), Fault.KATO, True, True),
    (errors.OutcomeUnknown("observe", "kato-1", "cut"), Fault.KATO, True, None),
    (
        errors.SessionConflict(
            "me", "session-1", expected=2, found=3, expected_stm=[["a"]], found_stm=[]
        ),
        Fault.KATO,
        True,
        False,
    ),
    (errors.SessionGone("me", "session-1"), Fault.KATO, True, True),
    (errors.StoreUnavailable("observe", "404"), Fault.KATO, True, True),
    (errors.KatoAnswerError("learn", "kato-1", 418, "no"), Fault.KATO, True, False),
    (errors.BadRequest("learn", "kato-1", 400, "empty"), Fault.CALLER, True, False),
    (errors.NotFound("learn", "kato-1", 404, "no"), Fault.CALLER, True, False),
    (errors.ValidationFailed("observe", "kato-1", 422, []), Fault.CALLER, True, False),
    (errors.ServerFailed("observe", "kato-1", 301, "moved"), Fault.KATO, True, False),
]

NAMES = [type(row[0]).__name__ for row in TABLE]


def tree(kind: type[KatoConsulError]) -> Iterator[type[KatoConsulError]]:
    """All classes of the package below one."""
    for below in kind.__subclasses__():
        if below.__module__.startswith("kato_consul."):
            yield below
        yield from tree(below)


@pytest.mark.parametrize(("error", "fault", "sent", "safe"), TABLE, ids=NAMES)
def test_says(error: KatoConsulError, fault: Fault, sent: bool | None, safe: bool | None) -> None:
    """Fault, sent and safe_to_resend of each error; no time to wait unless one was told."""
    assert (error.fault, error.sent, error.safe_to_resend) == (fault, sent, safe)
    assert error.retry_after is None


def test_table_is_whole() -> None:
    """Every error there is stands in the table above."""
    assert {type(row[0]) for row in TABLE} == set(tree(KatoConsulError))


def test_exported() -> None:
    """The package exports the whole tree, and no other exception."""
    public = [getattr(kato_consul, name) for name in kato_consul.__all__]
    exported = {one for one in public if isinstance(one, type) and issubclass(one, Exception)}
    assert exported == {KatoConsulError, *tree(KatoConsulError)}


@pytest.mark.parametrize(
    ("kind", "parent"),
    [
        (errors.DefinitionError, errors.ConfigurationError),
        (errors.ConsulUnreachable, errors.ConsulError),
        (errors.ConsulUnavailable, errors.ConsulError),
        (errors.ConsulDenied, errors.ConsulError),
        (errors.ConsulRejected, errors.ConsulError),
        (errors.NotPassing, errors.ConsulError),
        (errors.UnknownService, errors.DiscoveryError),
        (errors.NoInstances, errors.DiscoveryError),
        (errors.RequestNotSent, errors.KatoError),
        (errors.NoResponse, errors.KatoError),
        (errors.OutcomeUnknown, errors.KatoError),
        (errors.SessionConflict, errors.KatoError),
        (errors.SessionGone, errors.KatoError),
        (errors.StoreUnavailable, errors.KatoError),
        (errors.BadRequest, errors.KatoAnswerError),
        (errors.NotFound, errors.KatoAnswerError),
        (errors.ValidationFailed, errors.KatoAnswerError),
        (errors.ServerFailed, errors.KatoAnswerError),
        (errors.KatoAnswerError, errors.KatoError),
    ],
)
def test_caught_by(kind: type[KatoConsulError], parent: type[KatoConsulError]) -> None:
    """Which broader ``except`` catches which error."""
    assert issubclass(kind, parent)


@pytest.mark.parametrize("error", [row[0] for row in TABLE], ids=NAMES)
def test_words(error: KatoConsulError) -> None:
    """Every error has words, without blanks at the ends, and none shows an object's address."""
    text = str(error)
    assert text
    assert text == text.strip()
    assert " object at 0x" not in text


def test_retry_after() -> None:
    """The seconds that Consul asked for are in the error."""
    assert errors.ConsulUnavailable(AT, 429, "", 2.0).retry_after == 2.0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.DefinitionError(["a"]), "1 mistake in the definition:\n  a"),
        (errors.DefinitionError(["a", "b"]), "2 mistakes in the definition:\n  a\n  b"),
        (errors.ConsulUnreachable(AT, "refused"), f"no answer from Consul at {AT}: refused."),
        (errors.ConsulUnreachable(AT, "refused"), "CONSUL_HTTP_ADDR"),
        (errors.ConsulUnavailable(AT, 500, "No cluster leader\n", None), "500 No cluster leader"),
        (errors.ConsulDenied(AT, "listing services", ""), f"{AT} denied listing services: 403."),
        (errors.ConsulDenied(AT, "listing services", ""), "CONSUL_HTTP_TOKEN"),
        (errors.UnknownService("kat", ["consul", "kato"]), "Registered services: consul, kato."),
        (errors.UnknownService("kat", []), "Registered services: none."),
        (
            errors.NotPassing(1.5, {"kato-1": "critical, refused", "kato-2": "not in the catalog"}),
            "not passing after 1.5 s; what this run registered is deregistered:\n  kato-1: cri",
        ),
        (
            errors.NotPassing(1.5, {"kato-1": "critical, refused", "kato-2": "not in the catalog"}),
            ":\n  kato-1: critical, refused\n  kato-2: not in the catalog",
        ),
        (errors.BadRequest("learn", "kato-1", 400, "empty"), "learn on kato-1: 400 empty"),
    ],
)
def test_says_what_and_what_to_do(error: KatoConsulError, said: str) -> None:
    """The words hold what happened, where, and what to do."""
    assert said in str(error)


def test_outcome_unknown_because() -> None:
    """The reason why it could not be settled joins what was known; nothing of that is lost."""
    before = errors.OutcomeUnknown("observe", "kato-1", "no answer in time", hung=True)
    after = before.because(errors.NoResponse("all silent"))
    assert (after.what, after.instance, after.reason, after.hung, after.unsettled) == (
        "observe",
        "kato-1",
        "no answer in time",
        True,
        "all silent",
    )
    assert str(before) == (
        "observe on kato-1 may or may not have been applied: no answer in time. It was not retried"
    )
    assert str(after) == (
        f"{before}. Reading it back: all silent. The session's next call settles it"
    )


# --- other people's words -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (" \n No cluster leader\n", "No cluster leader"),
        ("x" * 300, "x" * 300),
        (" " + "x" * 300 + "\n", "x" * 300),
        ("x" * 301, "x" * 300 + "…"),
    ],
)
def test_excerpt(text: str, expected: str) -> None:
    """Somebody's words are cut to a length that fits an error, and what is left out is marked."""
    assert errors.excerpt(text) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda body: errors.ConsulUnavailable(AT, 502, body, None),
        lambda body: errors.ConsulDenied(AT, "listing services", body),
        lambda body: errors.ConsulRejected(AT, "listing services", 400, body),
    ],
)
def test_long_bodies_are_cut(make: Callable[[str], KatoConsulError]) -> None:
    """A proxy's error page does not fill the log."""
    text = str(make("<p>" * 1_000))
    assert "<p>" * 100 + "…" in text
    assert "<p>" * 101 not in text


# --- crossing processes ---------------------------------------------------------------------


def pickled(error: KatoConsulError) -> Any:
    """What arrives in another process."""
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("error", [row[0] for row in TABLE], ids=NAMES)
def test_travels(error: KatoConsulError, again: Callable[[KatoConsulError], Any]) -> None:
    """An error that is pickled or copied says all that it said."""
    other = again(error)
    assert type(other) is type(error)
    assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))
    assert (other.sent, other.safe_to_resend, other.retry_after) == (
        error.sent,
        error.safe_to_resend,
        error.retry_after,
    )


def test_copy_is_another_error() -> None:
    """Raising a copy leaves no trace in the error that it was made of."""
    error = errors.ConsulUnreachable(AT, "refused")
    other = copy.copy(error)
    with pytest.raises(errors.ConsulUnreachable):
        raise other
    other.sent = True
    assert other.__traceback__ is not None
    assert (error.__traceback__, error.sent) == (None, False)
