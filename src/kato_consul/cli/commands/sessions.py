"""``sessions``: lists what a session directory holds, and lets an owner hand a session over."""

import json
from dataclasses import asdict
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kato_consul import ConfigurationError, SessionEntry
from kato_consul.cli.exit_codes import CommandFailed, exit_on_error
from kato_consul.cli.help_format import flag
from kato_consul.cli.options.common import Consul, Json, Service, settings_from
from kato_consul.cli.output import print_result, print_status, status_if_slow
from kato_consul.cli.session_table import NO_SESSIONS, details, session_count, summary, table
from kato_consul.cli.signals import interrupt_on_signals

if TYPE_CHECKING:
    from kato_consul import SessionDirectory

READ_WITHIN = 10.0
"""Seconds to wait for the directory: less than a program waits, because a user is waiting."""

RELEASE_WITHIN = 10.0
"""Seconds to wait for the owner, which ends the call in hand first. If it has died, its lease ends
before that."""

MAX_NEAR = 5
"""Keys that are named if there is none of the one that was asked for."""

Directory = Annotated[
    str | None,
    typer.Option(
        "--directory",
        metavar="DIR",
        help="The session directory: consul, or the URL of a Redis server. "
        "Default: $KATO_CONSUL_SESSION_DIRECTORY, where a URL with a password belongs.",
        show_default=False,
    ),
]
Key = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="Only the session of this key.", show_default=False),
]
Release = Annotated[bool, flag("--release", help="Let its owner hand it over. Needs --key.")]


def sessions(
    key: Key = None,
    release: Release = False,
    directory: Directory = None,
    service: Service = None,
    consul: Consul = None,
    json_: Json = False,
) -> None:
    """List the sessions that the processes of a service share, and their owners.

    With a session directory, a key is the same session in all processes of a
    service, and one process at a time owns it. For each key this prints KATO's
    id, the owner as host:pid, the epoch, which counts how often the session was
    acquired, and the age of the entry: it is written when the session is opened,
    handed over or taken over, not for each call.

    "none" is a session that no process owns now. If its last owner released it,
    the next process that uses it goes on in the same KATO session. If it was
    left, by a process that died or was stopped, the next one takes it over.
    After --release, the last owner is this command.

      kato-consul sessions

      kato-consul sessions --key user-123

      kato-consul sessions --json | jq -r '.\\[] | select(.owner == null).key'

    --release asks the owner, as a process that needs the session does. It is
    never taken from a process that lives: if the owner does not hand it over
    within 10 s, the exit code is 1. End a process that hangs; its sessions are
    taken over then.

      kato-consul sessions --key user-123 --release
    """
    with exit_on_error():
        from kato_consul import SessionDirectory

        interrupt_on_signals()
        if key == "":
            raise ConfigurationError("--key is empty: name a key, such as those of 'sessions'")
        if release and key is None:
            raise ConfigurationError("--release needs --key: the session that is to be released")
        if directory is not None and "@" in directory:
            print_status(
                "warning: other users of this machine can read the arguments of a process: set a "
                "URL with a password in KATO_CONSUL_SESSION_DIRECTORY"
            )
        settings = settings_from(consul, service, directory)
        with SessionDirectory(settings) as opened:
            with status_if_slow(opened.name):
                found = _read(opened, key)
            if release:
                found = [_release(opened, found[0])]
            where = f"{settings.service} in {opened.name}"
        if json_:
            print_result(json.dumps([as_json(entry) for entry in found]))
        elif key is not None:
            print_result(details(found[0]))
        else:
            print_result("\n".join([*table(found), f"{where}: {summary(found)}"]))


def as_json(entry: SessionEntry) -> dict[str, Any]:
    """Return an entry as JSON data; ``age`` in seconds."""
    age = None if entry.age is None else round(entry.age, 3)
    return {**asdict(entry), "age": age}


def _read(directory: "SessionDirectory", key: str | None) -> list[SessionEntry]:
    """Return all sessions, or that of a key.

    Raises:
        CommandFailed: there is none of this key.
    """
    if key is None:
        return directory.entries(READ_WITHIN)
    entry = directory.entry(key, READ_WITHIN)
    if entry is None:
        raise _unknown(directory, key)
    return [entry]


def _unknown(directory: "SessionDirectory", key: str) -> CommandFailed:
    """Return the failure for a key without a session; it names near ones."""
    keys = [entry.key for entry in directory.entries(READ_WITHIN)]
    near = [one for one in keys if key.lower() in one.lower()]
    near = (near or get_close_matches(key, keys, MAX_NEAR))[:MAX_NEAR]
    if near:
        hint = f"near ones: {', '.join(near)}"
    elif keys:
        hint = f"it has {session_count(len(keys))}: 'kato-consul sessions' lists them"
    else:
        hint = NO_SESSIONS
    service = directory.settings.service
    return CommandFailed(f"{directory.name} has no session {key!r} of {service!r}; {hint}")


def _release(directory: "SessionDirectory", entry: SessionEntry) -> SessionEntry:
    """Let the owner hand the session over; return it after that."""
    if entry.owner is None:
        print_status(f"{entry.key}: no process owns it, so there is nothing to release")
        return entry
    print_status(f"{entry.key}: asking {entry.owner} to release it")
    after = directory.release(entry.key, RELEASE_WITHIN)
    if after is None:
        raise _unknown(directory, entry.key)
    how = "released, and goes on" if after.released else "given up, and is taken over"
    print_status(f"{entry.key}: {how} in the next process that uses it")
    return after
