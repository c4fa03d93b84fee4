"""Options of a shared session: what one process gives and another does not, or gives differently;
what goes with the session from one to the other."""

import json

import httpx
import pytest

from kato_consul.errors import ConfigurationError, SessionConflict, SessionGone
from kato_consul.testing.kato.instance import flush_sessions
from tests.shared_sessions.callers import other
from tests.shared_sessions.clients import Shell
from tests.shared_sessions.site import Site


def test_options_are_those_of_the_process_that_opened_it(site: Site, shell: Shell) -> None:
    """Node, configuration, metadata and time to live go with the session."""
    one = site.client(shell).session(
        "user-1",
        node_id="shop",
        config={"max_pattern_length": 7},
        metadata={"tenant": "a"},
        ttl=120,
    )
    two = site.client(other(shell)).session("user-1")
    one.observe(["a"])
    two.observe(["b"])
    info = two.info()
    assert info["node_id"] == "shop"
    assert 60 < info["ttl_seconds"] <= 120  # what is left of it
    assert info["metadata"]["tenant"] == "a"
    assert two.config()["max_pattern_length"] == 7
    flush_sessions(site.deployment.instances[0].store)
    two.observe(["c"])  # it opens the session again, with the same
    info = two.info()
    assert info["node_id"] == "shop"
    assert 60 < info["ttl_seconds"] <= 120  # what is left of it
    assert info["metadata"]["tenant"] == "a"
    assert two.config()["max_pattern_length"] == 7
    assert one.symbols() == ["a", "b", "c"]


def test_other_options_of_a_later_process_have_no_effect(site: Site, shell: Shell) -> None:
    """Configuration, metadata and time to live are those of the session that exists."""
    one = site.client(shell).session("user-1", config={"max_pattern_length": 7}, ttl=120)
    two = site.client(other(shell)).session(
        "user-1", config={"max_pattern_length": 3}, metadata={"tenant": "b"}, ttl=60
    )
    one.observe(["a"])
    for symbol in "bcde":
        two.observe([symbol])
    assert two.config()["max_pattern_length"] == 7
    assert 60 < two.info()["ttl_seconds"] <= 120
    assert one.symbols() == list("abcde")


def test_another_node_is_refused(site: Site, shell: Shell) -> None:
    """The error has both nodes; nothing is sent, and the session stays with its owner."""
    one = site.client(shell).session("user-1", node_id="shop")
    client = site.client(other(shell))
    one.observe(["a"])
    with pytest.raises(ConfigurationError, match=r"node_id='shop'.*node_id='office'") as caught:
        client.session("user-1", node_id="office").observe(["b"])
    assert caught.value.sent is False
    one.observe(["c"])
    assert one.symbols() == ["a", "c"]
    two = client.session("user-1")
    two.observe(["d"])
    assert one.symbols() == ["a", "c", "d"]


def test_attach_is_for_the_first_process(site: Site, shell: Shell) -> None:
    """A session that one process has attached to is that of the key, whatever others give."""
    alone = site.client(shell).session("before")
    alone.observe(["a"])
    one = site.client(shell).session("user-1", attach=alone.id)
    two = site.client(other(shell)).session("user-1")
    three = site.client(shell).session("user-1", attach=alone.id)
    one.observe(["b"])
    two.observe(["c"])
    three.observe(["d"])
    assert one.id == two.id == three.id == alone.id
    assert one.symbols() == ["a", "b", "c", "d"]


def test_attach_to_another_session_is_refused(site: Site, shell: Shell) -> None:
    """The error has both ids, and the session stays as it is. The id that the session was attached
    to at first is accepted for as long as the session exists."""
    alone = site.client(shell).session("before")
    alone.observe(["a"])
    stranger = site.client(shell).session("stranger")
    stranger.observe(["x"])
    one = site.client(shell).session("user-1", attach=alone.id)
    one.observe(["b"])
    refused = site.client(other(shell))
    expected = rf"user-1.*{alone.id}.*attach='{stranger.id}'"
    with pytest.raises(ConfigurationError, match=expected) as caught:
        refused.session("user-1", attach=stranger.id).observe(["c"])
    assert caught.value.sent is False
    flush_sessions(site.deployment.instances[0].store)
    one.observe(["c"])
    assert one.id != alone.id
    again = site.client(other(shell)).session("user-1", attach=alone.id)
    again.observe(["d"])
    assert one.symbols() == ["a", "b", "c", "d"]
    one.delete()
    with pytest.raises(SessionGone):
        site.client(shell).session("user-1", attach="session-of-none").observe(["e"])


def write_directly(site: Site, session_id: str | None, symbol: str) -> None:
    """Observe a symbol without any client, as a foreign writer does."""
    url = f"{site.deployment.instances[0].url}/sessions/{session_id}/observe"
    body = {"strings": [symbol], "vectors": [], "emotives": {}}
    httpx.post(url, json=body, trust_env=False).raise_for_status()


def test_each_process_decides_about_conflicts(site: Site, shell: Shell) -> None:
    """``on_conflict`` is not part of the session: one process adopts what another one refuses."""
    adopting = site.client(shell).session("user-1", on_conflict="adopt")
    raising = site.client(other(shell)).session("user-1", on_conflict="raise")
    adopting.observe(["a"])
    raising.observe(["b"])
    write_directly(site, raising.id, "foreign")
    with pytest.raises(SessionConflict):
        raising.observe(["c"])
    before = raising.symbols()
    assert before[:3] == ["a", "b", "foreign"]
    adopting.observe(["d"])
    write_directly(site, adopting.id, "foreign-2")
    adopting.observe(["e"])
    assert adopting.symbols() == [*before, "d", "foreign-2", "e"]
    assert raising.symbols() == [*before, "d", "foreign-2", "e"]


def test_a_configuration_that_is_set_is_seen_by_others(site: Site, shell: Shell) -> None:
    """Also by a process that takes the session over, and after KATO has lost it."""
    one, three = site.process(shell), site.client(other(shell)).session("user-1")
    two = site.client(shell).session("user-1")
    one.call("observe", ["a"])
    one.call("set_config", max_pattern_length=2)
    assert two.config()["max_pattern_length"] == 2
    two.set_config(max_pattern_length=3)
    one.call("observe", ["b"])
    one.kill()
    assert three.symbols() == ["a", "b"]
    assert three.config()["max_pattern_length"] == 3
    result = three.observe(["c"])
    assert result["auto_learned_pattern"]
    assert two.symbols() == []


def learned(site: Site, shell: Shell, session: object) -> dict[str, object]:
    """Learn the session's memory, and return the pattern."""
    name = session.learn()["pattern_name"]  # type: ignore[attr-defined]
    client = session.client  # type: ignore[attr-defined]
    pattern: dict[str, object] = client.call(client.kato.node("shop").pattern, name)
    return pattern


def test_emotives_are_handed_over(site: Site, shell: Shell) -> None:
    """They are in the session that the next owner restores, and so in the pattern."""
    one = site.client(shell).session("user-1", node_id="shop")
    two = site.client(other(shell)).session("user-1")
    one.observe(["a"], emotives={"utility": 0.5}, metadata={"page": "first"})
    two.observe(["b"], emotives={"utility": 0.7})
    flush_sessions(site.deployment.instances[0].store)
    two.observe(["c"])
    assert not two.facts.replayed_without_emotives
    text = json.dumps(learned(site, shell, two))
    assert "0.5" in text
    assert "0.7" in text
    assert "first" in text


def test_emotives_of_a_dead_owner_are_lost_and_it_is_told(site: Site, shell: Shell) -> None:
    """A takeover restores the events, and tells that emotives may be missing."""
    one = site.process(shell)
    two = site.client(other(shell)).session("user-1")
    one.call("observe", ["a"], emotives={"utility": 0.5})
    one.kill()
    assert two.symbols() == ["a"]
    assert two.facts.replayed_without_emotives
    two.observe(["b"])
    assert two.symbols() == ["a", "b"]


def test_a_takeover_without_emotives_says_nothing(site: Site, shell: Shell) -> None:
    """If there were none, none were lost."""
    one = site.process(shell)
    two = site.client(other(shell)).session("user-1")
    one.call("observe", ["a"])
    one.kill()
    assert two.symbols() == ["a"]
    assert not two.facts.replayed_without_emotives


def test_digest_keeps_content_out_of_the_directory(site: Site, shell: Shell) -> None:
    """With ``journal="digest"`` nothing that was observed is in it, and hand-over and takeover
    lose nothing."""
    one = site.client(shell, journal="digest").session("user-1")
    two = site.client(other(shell), journal="digest").session("user-1")
    three = site.process(shell, journal="digest")
    one.observe(["secret-a"], metadata={"page": "secret-page"})
    two.observe(["secret-b"])
    assert one.symbols() == ["secret-a", "secret-b"]
    three.call("observe", ["secret-c"], idempotency_key="k-1")
    three.call("observe", ["secret-d"])
    assert "secret" not in site.dump()
    three.kill()
    assert one.symbols() == ["secret-a", "secret-b", "secret-c", "secret-d"]
    assert two.symbols() == ["secret-a", "secret-b", "secret-c", "secret-d"]
    assert "secret" not in site.dump()
    assert '"user-1"' in site.dump()


def test_full_keeps_them_there(site: Site, shell: Shell) -> None:
    """The counterpart: by default they are in the entry, after a hand-over."""
    one, two = (site.client(one).session("user-1") for one in (shell, other(shell)))
    one.observe(["secret-a"])
    two.observe(["b"])
    assert "secret-a" in site.dump()
