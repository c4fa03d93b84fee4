"""One call on as many instances as it takes, and on no more than it may."""

from dataclasses import replace

import pytest

from kato_consul._flow import Outcome, Send
from kato_consul._requests.failover import Answer, Request, describe
from kato_consul.errors import (
    KatoConsulError,
    NoInstances,
    NoResponse,
    OutcomeUnknown,
    RequestNotSent,
)
from tests.building import cut, hung, instance, refused, reply, script, snapshot
from tests.requests.calling import (
    ALL,
    BEGIN,
    FIRST,
    GOOD,
    LIMIT,
    PLACE,
    READ,
    SECOND,
    THIRD,
    WRITE,
    Calling,
    origins,
)

# --- one instance after the other -----------------------------------------------------------


def test_first_choice() -> None:
    """When all is well, the first choice is asked, once, and its answer is the answer."""
    calling = Calling(GOOD)
    assert calling.call() == Answer(GOOD, FIRST, failovers=0)
    assert calling.player.steps == [
        Send(
            FIRST.origin,
            "POST",
            "/observe",
            timeout=10.0,
            headers={"content-type": "application/json"},
            body=b"{}",
        )
    ]


def test_no_body_no_type() -> None:
    """A request without a body says nothing about one."""
    calling = Calling(GOOD)
    calling.call(READ)
    assert calling.player.sent[0].headers == {}


@pytest.mark.parametrize("request_", [WRITE, READ], ids=["write", "read"])
@pytest.mark.parametrize("outcome", [refused(), LIMIT], ids=["refused", "limit"])
def test_not_sent(request_: Request, outcome: Outcome) -> None:
    """What provably was not read goes to the next instance at once, whatever it is."""
    calling = Calling(outcome, outcome, GOOD)
    assert calling.call(request_) == Answer(GOOD, THIRD, failovers=2)
    assert calling.asked == origins(FIRST, SECOND, THIRD)
    assert calling.player.slept == []


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_application_errors_are_answers(status: int) -> None:
    """What the application refused is not asked of another instance."""
    calling = Calling(reply(status))
    assert calling.call().reply.status == status
    assert calling.asked == origins(FIRST)


@pytest.mark.parametrize(
    ("outcome", "is_hung", "said"),
    [
        (hung(), True, "no answer in time"),
        (cut(), False, "connection cut (reset)"),
        (reply(500, b"Internal Server Error"), False, "500 Internal Server Error"),
        (reply(502), False, "502"),
        (reply(504), False, "504"),
    ],
)
def test_unknown(outcome: Outcome, is_hung: bool, said: str) -> None:
    """A write that may have been applied is not sent again; only a silent instance is hung."""
    calling = Calling(refused(), outcome)
    with pytest.raises(OutcomeUnknown) as caught:
        calling.call()
    assert calling.asked == origins(FIRST, SECOND)
    assert (caught.value.what, caught.value.instance) == ("observe", SECOND.id)
    assert (caught.value.hung, caught.value.reason) == (is_hung, said)


@pytest.mark.parametrize("outcome", [hung(), cut(), reply(500), reply(502)])
def test_repeatable_goes_on(outcome: Outcome) -> None:
    """A read that may have been answered is asked of the next one, at once."""
    calling = Calling(outcome, GOOD)
    assert calling.call(READ) == Answer(GOOD, SECOND, failovers=1)
    assert calling.player.slept == []


def test_new_round() -> None:
    """When all were down there is a pause, a growing one, and a new round."""
    calling = Calling(*[refused()] * 6, GOOD)
    assert calling.call() == Answer(GOOD, FIRST, failovers=6)
    assert calling.asked == origins(*ALL, *ALL, FIRST)
    assert calling.player.slept == pytest.approx([0.05, 0.1])


def test_instances_change_meanwhile() -> None:
    """The next attempt goes by what Consul says then: gone ones are not asked, new ones are."""
    new = instance("kato-new")
    calling = Calling()
    outcomes = script([refused(), GOOD])

    def answer(send: Send) -> Outcome:
        calling.store.publish(snapshot(FIRST, new))
        return outcomes(send)

    calling.player.answer = answer
    assert calling.call().instance == new
    assert calling.asked == origins(FIRST, new)


# --- the same id on two agents --------------------------------------------------------------

TWINS = tuple(
    replace(instance("kato-1", address=f"{node}.test"), node=node, uid=f"kato-1@{node}")
    for node in ("n1", "n2")
)


def test_twins_are_two() -> None:
    """Two instances with the same id are two to ask, whichever comes first."""
    for well in TWINS:
        calling = Calling(instances=TWINS)
        calling.player.answer = lambda send, well=well: (  # type: ignore[misc]
            GOOD if send.origin == well.origin else refused()
        )
        assert calling.call().instance == well
        before = len(calling.asked)
        assert calling.call().instance == well
        assert calling.asked[before:] == origins(well)  # the other one is out, and it alone


def test_twins_in_words() -> None:
    """Errors tell which of the two it was."""
    for outcome, kind in ((hung(), OutcomeUnknown), (refused(), RequestNotSent)):
        calling = Calling(*[outcome] * 100, instances=TWINS)
        with pytest.raises(kind, match="kato-1@n"):
            calling.call(within=5.0)


def test_twins_are_forgiven() -> None:
    """A good answer of one of them ends its own time out, and not the other's."""
    calling = Calling(refused(), refused(), GOOD, instances=TWINS)
    for one in (*TWINS, TWINS[0]):
        calling.player.play(calling.failover.attempt(READ, one.uid, BEGIN + 5.0))
    out = [calling.pool.outliers.is_ejected(one.uid, calling.clock()) for one in TWINS]
    assert out == [False, True]


def test_twins_one_attempt() -> None:
    """One attempt on one of them is on that one."""
    for one in TWINS:
        calling = Calling(hung(), instances=TWINS)
        attempt = calling.failover.attempt(WRITE, one.uid, BEGIN + 5.0)
        assert calling.player.play(attempt) == hung()
        assert calling.asked == origins(one)


# --- the deadline ---------------------------------------------------------------------------


def test_attempts_shrink() -> None:
    """An attempt takes its own timeout, or what is left until the deadline."""
    calling = Calling(hung(), hung(), hung())
    with pytest.raises(NoResponse) as caught:
        calling.call(READ, within=25.0)
    assert [send.timeout for send in calling.player.sent] == [10.0, 10.0, 5.0]
    assert calling.clock.now == BEGIN + 25.0
    assert THIRD.id in str(caught.value)
    assert "no answer in time" in str(caught.value)


def test_shorter_attempts() -> None:
    """A request may say that an attempt of it takes less."""
    calling = Calling(GOOD)
    calling.call(replace(READ, timeout=2.0))
    assert calling.player.sent[0].timeout == 2.0


@pytest.mark.parametrize("request_", [WRITE, READ], ids=["write", "read"])
def test_nobody_took_it(request_: Request) -> None:
    """At the deadline, when nothing ever left, the error says so: nothing happened."""
    calling = Calling(*[refused()] * 100)
    with pytest.raises(RequestNotSent) as caught:
        calling.call(request_, within=5.0)
    assert calling.clock.now == pytest.approx(BEGIN + 5.0)
    assert request_.what in str(caught.value)
    assert "could not connect (refused)" in str(caught.value)
    assert (caught.value.sent, caught.value.safe_to_resend) == (False, True)


def test_nobody_answered() -> None:
    """A read that left once, and was never answered, is another error."""
    calling = Calling(refused(), reply(500), *[refused()] * 100)
    with pytest.raises(NoResponse) as caught:
        calling.call(READ, within=5.0)
    assert (caught.value.sent, caught.value.safe_to_resend) == (True, True)


@pytest.mark.parametrize("request_", [WRITE, READ], ids=["write", "read"])
@pytest.mark.parametrize("within", [0.0, -1.0])
def test_over_before_it_began(request_: Request, within: float) -> None:
    """A call whose time is over asks nobody, and says so."""
    calling = Calling()
    with pytest.raises(RequestNotSent) as caught:
        calling.call(request_, within=within)
    assert str(caught.value) == (
        f"{request_.what}: no instance answered before the deadline, "
        f"which was over before one was asked"
    )
    assert calling.player.steps == []


@pytest.mark.parametrize(
    ("outcome", "kind", "sent"), [(cut(), NoResponse, True), (refused(), NoInstances, False)]
)
def test_all_gone_meanwhile(outcome: Outcome, kind: type[KatoConsulError], sent: bool) -> None:
    """When all instances go after one was asked, the error still says whether anything left."""
    calling = Calling()

    def answer(send: Send) -> Outcome:
        calling.store.publish(snapshot())
        return outcome

    calling.player.answer = answer
    with pytest.raises(kind, match="no instance of 'kato' can be used: none is registered") as e:
        calling.call(READ, within=5.0)
    assert e.value.sent is sent
    assert calling.asked == origins(FIRST)
    assert (f"Before, {FIRST.id}: connection cut (reset)" in str(e.value)) is sent


# --- words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (reply(500, b" Internal Server Error\n"), "500 Internal Server Error"),
        (reply(502), "502"),
        (reply(500, b"\xff"), "500 \ufffd"),
        (reply(500, b"x" * 300), "500 " + "x" * 200),
        (refused(), "could not connect (refused)"),
        (hung(), "no answer in time"),
    ],
)
def test_describe(outcome: Outcome, words: str) -> None:
    """An outcome in words, cut to a length that fits an error."""
    assert describe(outcome) == words


def test_closed_in_between() -> None:
    """A caller that gives up in between makes no further request."""
    calling = Calling()
    flow = calling.failover.call(WRITE, BEGIN + 30.0, PLACE)
    assert isinstance(next(flow), Send)
    flow.close()
    with pytest.raises(StopIteration):
        next(flow)


def test_sleeps_end_at_the_deadline() -> None:
    """The last pause is no longer than what is left."""
    calling = Calling(*[refused()] * 100)
    with pytest.raises(RequestNotSent):
        calling.call(within=0.12)
    assert calling.player.slept == pytest.approx([0.05, 0.07])
