"""Failover: a call tries as many instances as needed, and no more than allowed."""

from dataclasses import replace

import pytest
from msgspec import structs

from kato_consul._flow import Cause, Failure, Outcome, Send
from kato_consul._requests.classify import ANY_RESPONSE, describe
from kato_consul._requests.request import Answer, Request
from kato_consul.errors import (
    KatoConsulError,
    NoInstances,
    NoResponse,
    OutcomeUnknown,
    RequestNotSent,
)
from tests.building import cut, hung, instance, refused, reply, script, snapshot
from tests.requests.scripted_service import (
    ALL,
    BEGIN,
    FIRST,
    HINT,
    LIMIT,
    OK,
    READ,
    SECOND,
    THIRD,
    WRITE,
    ScriptedService,
    origins_of,
)

# --- rounds ---------------------------------------------------------------------------------


def test_first_choice_answers() -> None:
    """If the first choice answers, one request is sent."""
    service = ScriptedService(OK)
    assert service.call() == Answer(OK, FIRST, failovers=0)
    assert service.player.steps == [
        Send(
            FIRST.origin,
            "POST",
            "/observe",
            timeout=10.0,
            headers={"content-type": "application/json"},
            body=b"{}",
        )
    ]


def test_no_content_type_without_body() -> None:
    """A request without a body has no content type."""
    service = ScriptedService(OK)
    service.call(READ)
    assert service.player.sent[0].headers == {}


@pytest.mark.parametrize("request_", [WRITE, READ], ids=["write", "read"])
@pytest.mark.parametrize("outcome", [refused(), LIMIT], ids=["refused", "limit"])
def test_not_sent_goes_to_the_next_instance(request_: Request, outcome: Outcome) -> None:
    """A request that was provably not processed goes to the next instance at once."""
    service = ScriptedService(outcome, outcome, OK)
    assert service.call(request_) == Answer(OK, THIRD, failovers=2)
    assert service.origins == origins_of(FIRST, SECOND, THIRD)
    assert service.player.slept == []


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_application_errors_are_answers(status: int) -> None:
    """An error of the application is not retried on another instance."""
    service = ScriptedService(reply(status))
    assert service.call().reply.status == status
    assert service.origins == origins_of(FIRST)


@pytest.mark.parametrize(
    ("outcome", "is_hung", "reason"),
    [
        (hung(), True, "no answer in time"),
        (cut(), False, "connection cut (reset)"),
        (reply(500, b"Internal Server Error"), False, "500 Internal Server Error"),
        (reply(502), False, "502"),
        (reply(504), False, "504"),
    ],
)
def test_unknown_write_is_not_repeated(outcome: Outcome, is_hung: bool, reason: str) -> None:
    """A write that may have been applied is not sent again; only a timeout means hung."""
    service = ScriptedService(refused(), outcome)
    with pytest.raises(OutcomeUnknown) as caught:
        service.call()
    assert service.origins == origins_of(FIRST, SECOND)
    assert (caught.value.what, caught.value.instance) == ("observe", SECOND.id)
    assert (caught.value.hung, caught.value.reason) == (is_hung, reason)


@pytest.mark.parametrize("outcome", [hung(), cut(), reply(500), reply(502)])
def test_unknown_read_is_repeated(outcome: Outcome) -> None:
    """A read with an unknown outcome goes to the next instance at once."""
    service = ScriptedService(outcome, OK)
    assert service.call(READ) == Answer(OK, SECOND, failovers=1)
    assert service.player.slept == []


def test_pause_between_rounds() -> None:
    """After a round without success there is a growing pause and a new round."""
    service = ScriptedService(*[refused()] * 6, OK)
    assert service.call() == Answer(OK, FIRST, failovers=6)
    assert service.origins == origins_of(*ALL, *ALL, FIRST)
    assert service.player.slept == pytest.approx([0.05, 0.1])


def test_one_round_for_any_response() -> None:
    """With `ANY_RESPONSE` the call ends after a round in which the request may be received."""
    service = ScriptedService(*[refused()] * 3, refused(), reply(502), refused())
    with pytest.raises(NoResponse, match="every instance failed"):
        service.call(structs.replace(READ, answer_policy=ANY_RESPONSE))
    assert service.origins == origins_of(*ALL, *ALL)


def test_next_attempt_uses_the_newest_snapshot() -> None:
    """An attempt uses the newest snapshot: removed instances are skipped, new ones used."""
    new = instance("kato-new")
    service = ScriptedService()
    outcomes = script([refused(), OK])

    def answer(send: Send) -> Outcome:
        service.store.publish(snapshot(FIRST, new))
        return outcomes(send)

    service.player.answer = answer
    assert service.call().instance == new
    assert service.origins == origins_of(FIRST, new)


# --- the same id on two agents --------------------------------------------------------------

SAME_ID = tuple(
    replace(instance("kato-1", address=f"{node}.test"), node=node, uid=f"kato-1@{node}")
    for node in ("n1", "n2")
)


def test_same_id_is_two_instances() -> None:
    """Two instances with the same id are tried separately, whichever comes first."""
    for healthy in SAME_ID:
        service = ScriptedService(instances=SAME_ID)
        service.player.answer = lambda send, healthy=healthy: (  # type: ignore[misc]
            OK if send.origin == healthy.origin else refused()
        )
        assert service.call().instance == healthy
        before = len(service.origins)
        assert service.call().instance == healthy
        assert service.origins[before:] == origins_of(healthy)  # only the other one is ejected


def test_same_id_in_errors() -> None:
    """Errors name which of the two it was."""
    for outcome, kind in ((hung(), OutcomeUnknown), (refused(), RequestNotSent)):
        service = ScriptedService(*[outcome] * 100, instances=SAME_ID)
        with pytest.raises(kind, match="kato-1@n"):
            service.call(within=5.0)


def test_same_id_success_ends_one_ejection() -> None:
    """A success of one ends its own ejection, not the other's."""
    service = ScriptedService(refused(), refused(), OK, instances=SAME_ID)
    for one in (*SAME_ID, SAME_ID[0]):
        service.player.play(service.failover.attempt(READ, one.uid, BEGIN + 5.0))
    ejected = [service.pool.outliers.is_ejected(one.uid, service.clock()) for one in SAME_ID]
    assert ejected == [False, True]


def test_same_id_attempt() -> None:
    """An attempt goes to the given one of the two."""
    for one in SAME_ID:
        service = ScriptedService(hung(), instances=SAME_ID)
        attempt = service.failover.attempt(WRITE, one.uid, BEGIN + 5.0)
        assert service.player.play(attempt) == hung()
        assert service.origins == origins_of(one)


# --- the deadline ---------------------------------------------------------------------------


def test_attempt_timeout_ends_at_the_deadline() -> None:
    """An attempt's timeout is the request's, or what is left until the deadline."""
    service = ScriptedService(hung(), hung(), hung())
    with pytest.raises(NoResponse) as caught:
        service.call(READ, within=25.0)
    assert [send.timeout for send in service.player.sent] == [10.0, 10.0, 5.0]
    assert service.clock.now == BEGIN + 25.0
    assert THIRD.id in str(caught.value)
    assert "no answer in time" in str(caught.value)


def test_request_sets_the_attempt_timeout() -> None:
    """A request may have a shorter timeout per attempt."""
    service = ScriptedService(OK)
    service.call(structs.replace(READ, timeout=2.0))
    assert service.player.sent[0].timeout == 2.0


@pytest.mark.parametrize("request_", [WRITE, READ], ids=["write", "read"])
def test_request_not_sent_at_the_deadline(request_: Request) -> None:
    """If no byte was sent before the deadline, the error says that nothing was applied."""
    service = ScriptedService(*[refused()] * 100)
    with pytest.raises(RequestNotSent) as caught:
        service.call(request_, within=5.0)
    assert service.clock.now == pytest.approx(BEGIN + 5.0)
    assert request_.what in str(caught.value)
    assert "could not connect (refused)" in str(caught.value)
    assert (caught.value.sent, caught.value.safe_to_resend) == (False, True)


def test_connection_that_the_deadline_cuts_off_hides_no_reason() -> None:
    """The error has the reason of the attempt before: a short last one shows nothing new."""
    expired = Failure(Cause.TIMEOUT, bytes_sent=False, detail="expired while connecting")
    service = ScriptedService(refused(), expired)
    with pytest.raises(RequestNotSent, match=f"Last attempt: {FIRST.id}: .*refused"):
        service.call(READ, within=5.0)


def test_response_that_the_deadline_cuts_off_hides_no_reason() -> None:
    """A short last attempt that was sent is told, and so is the reason of the one before."""
    service = ScriptedService(refused(), hung())
    expected = rf"Last attempt: {SECOND.id}: no answer.*; before it, {FIRST.id}: .*refused"
    with pytest.raises(NoResponse, match=expected):
        service.call(READ, within=5.0)


def test_no_response_at_the_deadline() -> None:
    """A read that was sent once and never answered raises another error."""
    service = ScriptedService(refused(), reply(500), *[refused()] * 100)
    with pytest.raises(NoResponse) as caught:
        service.call(READ, within=5.0)
    assert (caught.value.sent, caught.value.safe_to_resend) == (True, True)


@pytest.mark.parametrize(
    ("outcomes", "server_error"),
    [
        ([reply(500), hung()], True),
        ([hung()], False),
        ([reply(500), refused(), hung()], False),
    ],
)
def test_attempt_that_the_deadline_cut_short_shows_nothing(
    outcomes: list[Outcome], server_error: bool
) -> None:
    """Whether the application failed is what the last attempt shows that had its time."""
    service = ScriptedService(*outcomes)
    with pytest.raises(NoResponse) as caught:
        service.call(READ, within=5.0)
    assert caught.value.server_error is server_error


@pytest.mark.parametrize("request_", [WRITE, READ], ids=["write", "read"])
@pytest.mark.parametrize("within", [0.0, -1.0])
def test_deadline_in_the_past(request_: Request, within: float) -> None:
    """A call whose deadline has passed sends nothing and says so."""
    service = ScriptedService()
    with pytest.raises(RequestNotSent) as caught:
        service.call(request_, within=within)
    assert str(caught.value) == (
        f"{request_.what}: no instance answered before the deadline, "
        f"which had passed before the first attempt"
    )
    assert service.player.steps == []


@pytest.mark.parametrize(
    ("outcome", "kind", "sent"), [(cut(), NoResponse, True), (refused(), NoInstances, False)]
)
def test_instances_removed_after_an_attempt(
    outcome: Outcome, kind: type[KatoConsulError], sent: bool
) -> None:
    """If all instances are removed after an attempt, the error says whether bytes were sent."""
    service = ScriptedService()

    def answer(send: Send) -> Outcome:
        service.store.publish(snapshot())
        return outcome

    service.player.answer = answer
    with pytest.raises(kind, match="no instance of 'kato' can be used: Consul lists none") as e:
        service.call(READ, within=5.0)
    assert e.value.sent is sent
    assert service.origins == origins_of(FIRST)
    assert (f"Last attempt: {FIRST.id}: connection cut (reset)" in str(e.value)) is sent


# --- descriptions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "description"),
    [
        (reply(500, b" Internal Server Error\n"), "500 Internal Server Error"),
        (reply(502), "502"),
        (reply(500, b"\xff"), "500 \ufffd"),
        (reply(500, b"x" * 300), "500 " + "x" * 200),
        (refused(), "could not connect (refused)"),
        (hung(), "no answer in time"),
    ],
)
def test_describe(outcome: Outcome, description: str) -> None:
    """An outcome as text, cut to a length that fits an error message."""
    assert describe(outcome) == description


def test_closed_call_sends_nothing_more() -> None:
    """When the caller gives up, no further request is sent."""
    service = ScriptedService()
    flow = service.failover.call(WRITE, BEGIN + 30.0, HINT)
    assert isinstance(next(flow), Send)
    flow.close()
    with pytest.raises(StopIteration):
        next(flow)


def test_last_pause_ends_at_the_deadline() -> None:
    """The last pause is no longer than the time left."""
    service = ScriptedService(*[refused()] * 100)
    with pytest.raises(RequestNotSent):
        service.call(within=0.12)
    assert service.player.slept == pytest.approx([0.05, 0.07])
