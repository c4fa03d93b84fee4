"""``observe`` and ``predictions``: a session from the command line, one call at a time."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from kato_consul._sync.client import KatoClient
from kato_consul._sync.session import Session
from kato_consul.cli.exit_codes import exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import Consul, Json, Service, settings, told_here
from kato_consul.cli.output import print_result
from kato_consul.cli.signals import interrupt_on_signals
from kato_consul.settings import Settings

SessionId = Annotated[
    str,
    typer.Option(
        "--session",
        metavar="ID",
        help="KATO's id of the session to go on with, as observe prints it.",
        show_default=False,
    ),
]
Node = Annotated[
    str,
    typer.Option(metavar="NAME", help="The knowledge base, for a new session. Default: cli."),
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

    Opens a session unless one is named, and prints its id, to go on with:

      kato-consul observe --node shop tent stove

      kato-consul observe --session ID rope

      kato-consul predictions --session ID

    Exactly once, as any client of ours; but nobody remembers between two
    commands what was told before, so do not run two at once on one session.
    """
    with exit_on_error():
        interrupt_on_signals()
        with _session(settings(consul, service), session, node) as used:
            answer = dict(used.observe(strings))
            if learn:
                answer["learned"] = used.learn()["pattern_name"]
            # KATO's own id, which a session that had to be settled has all the same.
            answer["session_id"] = used.id
        if json_:
            print_result(json.dumps(answer))
        else:
            print_result(f"session {used.id}: time {answer['time']}, {answer['stm_length']} events")
            if learn:
                print_result(f"learned {answer['learned']}")


def predictions(
    session: SessionId,
    service: Service = None,
    consul: Consul = None,
    json_: Json = False,
) -> None:
    """Ask what comes next in a session, the likeliest first.

    Each line has KATO's potential, and the events that are to come. The
    session is left as it is.

      kato-consul predictions --session ID
    """
    with exit_on_error():
        interrupt_on_signals()
        with _session(settings(consul, service), session, "") as used:
            found = used.predictions()
        if json_:
            print_result(json.dumps(found))
            return
        for one in found:
            future = "  ".join(" ".join(event) for event in one["future"]) or "nothing more"
            print_result(f"{one['potential']:.3f}  {future}")
        if not found:
            print_result("no predictions: nothing was learned that begins so")


@contextmanager
def _session(asked: Settings, session_id: str, node: str) -> Iterator[Session]:
    told_here()
    with KatoClient(asked) as kato:
        yield kato.session(session_id or "cli", node_id=node or "cli", attach=session_id or None)
