"""``observe`` and ``predictions``: one call to a session each."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from kato_consul import Settings
from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import (
    Consul,
    Json,
    Service,
    settings_from,
    silence_watch_log,
)
from kato_consul.cli.output import print_result
from kato_consul.cli.signals import interrupt_on_signals

if TYPE_CHECKING:
    from kato_consul import Session

SessionId = Annotated[
    str,
    typer.Option(
        "--session",
        metavar="ID",
        help="KATO's id of an existing session, as observe prints it.",
        show_default=False,
    ),
]
Node = Annotated[
    str,
    typer.Option(metavar="NAME", help="The knowledge base of a new session. Default: cli."),
]


def observe(
    strings: Annotated[
        list[str], typer.Argument(metavar="STRING", hidden=True, show_default=False)
    ],
    session: SessionId = "",
    node: Node = "",
    learn: Annotated[bool, flag("--learn", help="Learn afterwards.")] = False,
    service: Service = None,
    consul: Consul = None,
    json_: Json = False,
) -> None:
    """Observe one event, whose symbols are the strings.

    Opens a session unless --session names one, and prints its id for the next
    command:

      kato-consul observe --node shop tent stove

      kato-consul observe --session ID rope

      kato-consul predictions --session ID

    The event is applied exactly once, as by every client of this library. But
    nothing is remembered between two commands, so do not run two at the same
    time on one session.
    """
    with exit_on_error():
        interrupt_on_signals()
        with _session(settings_from(consul, service), session, node) as kato_session:
            result = dict(kato_session.observe(strings))
            if learn:
                result["learned"] = kato_session.learn()["pattern_name"]
            # After an unknown outcome was settled, the result has no id of its own.
            result["session_id"] = kato_session.id
        if json_:
            print_result(json.dumps(result))
        else:
            events = f"time {result['time']}, {result['stm_length']} events"
            print_result(f"session {result['session_id']}: {events}")
            if learn:
                print_result(f"learned {result['learned']}")


def predictions(
    session: SessionId,
    service: Service = None,
    consul: Consul = None,
    json_: Json = False,
) -> None:
    """Print what KATO predicts for a session, the likeliest first.

    Each line has KATO's potential, and the future events. The session does
    not change.

      kato-consul predictions --session ID
    """
    with exit_on_error():
        interrupt_on_signals()
        with _session(settings_from(consul, service), session, "") as kato_session:
            predicted = kato_session.predictions()
        if json_:
            print_result(json.dumps(predicted))
            return
        for prediction in predicted:
            future = "  ".join(" ".join(event) for event in prediction["future"])
            print_result(f"{prediction['potential']:.3f}  {future or 'no further events'}")
        if not predicted:
            print_result("no predictions: no learned sequence matches these events")


@contextmanager
def _session(settings: Settings, session_id: str, node: str) -> Iterator["Session"]:
    from kato_consul import KatoClient

    silence_watch_log()
    with KatoClient(settings) as kato:
        yield kato.session(session_id or "cli", node_id=node or "cli", attach=session_id or None)
