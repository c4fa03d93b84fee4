"""Errors: the attributes, message and copies of each class in the tree."""

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import kato_consul
from kato_consul import errors
from kato_consul.errors import Fault, KatoConsulError

AT = "http://consul.test:8500"

# The error, and its fault, sent and safe_to_resend.
TABLE: list[tuple[KatoConsulError, Fault, bool | None, bool | None]] = [
    (errors.ConfigurationError("bad"), Fault.CALLER, False, False),
    (errors.DefinitionError(["a", "b"]), Fault.CALLER, False, False),
    (errors.ClientClosed("closed"), Fault.CALLER, False, False),
    (errors.NoThread("watch", "can't start new thread"), Fault.CALLER, False, True),
    (errors.ConsulError("bad"), Fault.CONSUL, True, True),
    (errors.ConsulUnreachable(AT, "refused"), Fault.NETWORK, False, True),
    (errors.ConsulUnreachable(AT, "silent", sent=True), Fault.NETWORK, True, True),
    (errors.ConsulUnavailable(AT, 503, "busy", None), Fault.CONSUL, True, True),
    (errors.ConsulDenied(AT, "listing services", "no"), Fault.CALLER, True, False),
    (errors.ConsulRejected(AT, "listing services", 400, "no"), Fault.CALLER, True, False),
    (errors.NotPassing(60, {"kato-1": "critical"}), Fault.KATO, True, True),
    (errors.StillRegistered({"kato-1": "on node n2"}), Fault.CALLER, True, True),
    (errors.DiscoveryError("none"), Fault.KATO, False, True),
    (errors.UnknownService("kato", ["consul"]), Fault.CALLER, False, True),
    (errors.NoInstances("kato", "none is passing"), Fault.KATO, False, True),
    (errors.KatoError("bad"), Fault.KATO, False, True),
    (errors.RequestNotSent("none accepted it"), Fault.NETWORK, False, True),
    (
        errors.SessionDirectoryUnavailable("Consul at consul.test:8500", "no answer"),
        Fault.NETWORK,
        False,
        True,
    ),
    (errors.SessionOwnedElsewhere("me", "host:1", "not in time"), Fault.NETWORK, False, True),
    (errors.SessionBusy("in a callback"), Fault.CALLER, False, True),
    (errors.IdempotencyKeyReused("key-1", "observe"), Fault.CALLER, False, False),
    (errors.NoResponse("none answered"), Fault.KATO, True, True),
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
    (errors.PatternNotStored("learn", "node", "PTRN|1"), Fault.KATO, True, False),
    (errors.InvalidObservation("symbol 0 is not text"), Fault.CALLER, False, False),
    (errors.KatoAnswerError("learn", "kato-1", 418, "no"), Fault.KATO, True, False),
    (errors.BadRequest("learn", "kato-1", 400, "empty"), Fault.CALLER, True, False),
    (errors.NotFound("learn", "kato-1", 404, "no"), Fault.CALLER, True, False),
    (errors.ValidationFailed("observe", "kato-1", 422, []), Fault.CALLER, True, False),
    (errors.ServerFailed("observe", "kato-1", 418, "a teapot"), Fault.KATO, True, False),
    (errors.GatewayRefused("observe", "kato-1", 401, "no key"), Fault.CALLER, True, True),
]

NAMES = [type(row[0]).__name__ for row in TABLE]


def tree(kind: type[KatoConsulError]) -> Iterator[type[KatoConsulError]]:
    """Yield all subclasses of a class in this package."""
    for below in kind.__subclasses__():
        if below.__module__.startswith("kato_consul."):
            yield below
        yield from tree(below)


@pytest.mark.parametrize(("error", "fault", "sent", "safe"), TABLE, ids=NAMES)
def test_attributes(
    error: KatoConsulError, fault: Fault, sent: bool | None, safe: bool | None
) -> None:
    """The attributes of each error; without a Retry-After header ``retry_after`` is None."""
    assert (error.fault, error.sent, error.safe_to_resend) == (fault, sent, safe)
    assert error.retry_after is None


def test_table_has_every_error() -> None:
    """Every error class is in the table above."""
    assert {type(row[0]) for row in TABLE} == set(tree(KatoConsulError))


def test_package_exports_the_whole_tree() -> None:
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
        (errors.StillRegistered, errors.ConsulError),
        (errors.UnknownService, errors.DiscoveryError),
        (errors.NoInstances, errors.DiscoveryError),
        (errors.RequestNotSent, errors.KatoError),
        (errors.SessionDirectoryUnavailable, errors.RequestNotSent),
        (errors.SessionOwnedElsewhere, errors.RequestNotSent),
        (errors.SessionBusy, errors.RequestNotSent),
        (errors.IdempotencyKeyReused, errors.KatoError),
        (errors.NoResponse, errors.KatoError),
        (errors.OutcomeUnknown, errors.KatoError),
        (errors.SessionConflict, errors.KatoError),
        (errors.SessionGone, errors.KatoError),
        (errors.StoreUnavailable, errors.KatoError),
        (errors.PatternNotStored, errors.KatoError),
        (errors.InvalidObservation, errors.KatoConsulError),
        (errors.BadRequest, errors.KatoAnswerError),
        (errors.NotFound, errors.KatoAnswerError),
        (errors.ValidationFailed, errors.KatoAnswerError),
        (errors.ServerFailed, errors.KatoAnswerError),
        (errors.GatewayRefused, errors.ServerFailed),
        (errors.KatoAnswerError, errors.KatoError),
    ],
)
def test_error_is_a_subclass(kind: type[KatoConsulError], parent: type[KatoConsulError]) -> None:
    """The broader ``except`` clauses that catch an error."""
    assert issubclass(kind, parent)


@pytest.mark.parametrize("error", [row[0] for row in TABLE], ids=NAMES)
def test_message_is_readable(error: KatoConsulError) -> None:
    """Every message has text, without spaces at the ends and without an object's address."""
    text = str(error)
    assert text
    assert text == text.strip()
    assert " object at 0x" not in text


def test_retry_after_is_an_attribute() -> None:
    """The seconds of Consul's Retry-After header are in the error."""
    assert errors.ConsulUnavailable(AT, 429, "", 2.0).retry_after == 2.0


@pytest.mark.parametrize(
    ("error", "text"),
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
        (errors.UnknownService("kat", ["web"]), "Consul's own is not listed"),
        (
            errors.NotPassing(1.5, {"kato-1": "critical, refused", "kato-2": "not in the catalog"}),
            "not passing after 1.5 s; the run is rolled back:\n  kato-1: cri",
        ),
        (
            errors.NotPassing(1.5, {"kato-1": "critical, refused", "kato-2": "not in the catalog"}),
            ":\n  kato-1: critical, refused\n  kato-2: not in the catalog",
        ),
        (errors.BadRequest("learn", "kato-1", 400, "empty"), "learn on kato-1: 400 empty"),
    ],
)
def test_message_has_cause_place_and_remedy(error: KatoConsulError, text: str) -> None:
    """The message states what happened, where, and what to do."""
    assert text in str(error)


def test_outcome_unknown_because_adds_the_reason() -> None:
    """The reason why the outcome could not be settled is added; all other attributes stay."""
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
        f"{before}. Its outcome could not be read: all silent. "
        f"Call settle() next: it reads the outcome again"
    )


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("reading the session: no answer", "learn: reading the session: no answer"),
        ("learn on kato-1: 400 empty", "learn on kato-1: 400 empty"),
        ("learner: no", "learn: learner: no"),
        ("", "learn: "),
    ],
)
def test_naming_begins_the_message_with_the_call(message: str, named: str) -> None:
    """The caller's call comes first, and only once."""
    with pytest.raises(errors.NoResponse) as caught, errors.naming("learn"):
        raise errors.NoResponse(message)
    assert (str(caught.value), caught.value.call) == (named, "learn")


def test_naming_keeps_the_name_of_a_call_within_a_call() -> None:
    """A progress callback may use its session: its error has the name of its own call."""
    with (
        pytest.raises(errors.NoResponse, match=r"^observe: lost$") as caught,
        errors.naming("observe_sequence"),
        errors.naming("observe"),
    ):
        raise errors.NoResponse("lost")
    assert caught.value.call == "observe"


def test_naming_leaves_other_exceptions_alone() -> None:
    """An interrupt or a mistake of the caller's own code passes unchanged."""
    with pytest.raises(ValueError, match=r"^mine$"), errors.naming("observe"):
        raise ValueError("mine")


# --- texts from outside ---------------------------------------------------------------------


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
def test_excerpt_marks_what_it_omits(text: str, expected: str) -> None:
    """A long text is cut, and the cut is marked."""
    assert errors.excerpt(text) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda body: errors.ConsulUnavailable(AT, 502, body, None),
        lambda body: errors.ConsulDenied(AT, "listing services", body),
        lambda body: errors.ConsulRejected(AT, "listing services", 400, body),
    ],
)
def test_message_contains_an_excerpt_of_a_long_body(make: Callable[[str], KatoConsulError]) -> None:
    """A proxy's error page is not logged whole."""
    text = str(make("<p>" * 1_000))
    assert "<p>" * 100 + "…" in text
    assert "<p>" * 101 not in text


# --- crossing processes ---------------------------------------------------------------------


def pickled(error: KatoConsulError) -> Any:
    """Return the error as another process receives it."""
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("error", [row[0] for row in TABLE], ids=NAMES)
def test_copied_or_pickled_error_is_equal(
    error: KatoConsulError, again: Callable[[KatoConsulError], Any]
) -> None:
    """A pickled or copied error has the same message and attributes."""
    other = again(error)
    assert type(other) is type(error)
    assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))
    assert (other.sent, other.safe_to_resend, other.retry_after) == (
        error.sent,
        error.safe_to_resend,
        error.retry_after,
    )


def test_raising_a_copy_does_not_change_the_original() -> None:
    """A copy can be raised and changed; the original stays as it was."""
    error = errors.ConsulUnreachable(AT, "refused")
    other = copy.copy(error)
    with pytest.raises(errors.ConsulUnreachable):
        raise other
    other.sent = True
    assert other.__traceback__ is not None
    assert (error.__traceback__, error.sent) == (None, False)
