"""Consul's KV store, its transactions and its sessions: the calls of a session directory.

All are to the agent's own datacenter, because a Consul session belongs to a check of this agent's.
So their requests are built without py-consul's methods, which add the datacenter of `ConsulApi`.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import msgspec

from kato_consul._consul.api import ConsulApi
from kato_consul._consul.blocking_query import query_timeout
from kato_consul._consul.call import ConsulCall
from kato_consul._flow import Reply
from kato_consul.errors import ConsulDenied

Operation = dict[str, Any]
"""One operation of a transaction, as Consul's API takes it."""

MAX_OPERATIONS = 64
"""Operations that Consul takes in one transaction."""


class Record(msgspec.Struct, frozen=True, rename="pascal"):
    """One key of the KV store. ``session`` is the Consul session that has locked it, or ""."""

    key: str
    value: bytes | None = None
    session: str = ""
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True)
class Records:
    """The response to a read: what was found, ordered by key, and the index for a blocking query
    that returns at the next change."""

    found: tuple[Record, ...]
    index: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A transaction that Consul has not carried out. ``reason`` is Consul's."""

    reason: str

    @property
    def by_lock_delay(self) -> bool:
        """True if the key's last Consul session ended less than its lock-delay ago."""
        return "due to lock delay" in self.reason

    @property
    def by_lost_session(self) -> bool:
        """True if the Consul session of an operation does not exist."""
        return "invalid session" in self.reason


class _Result(msgspec.Struct, frozen=True, rename={"kv": "KV"}):
    kv: Record


class _Mistake(msgspec.Struct, frozen=True, rename="pascal"):
    what: str = ""


class _Transaction(msgspec.Struct, frozen=True, rename="pascal"):
    results: tuple[_Result, ...] | None = None
    errors: tuple[_Mistake, ...] | None = None


_names_decoder = msgspec.json.Decoder(list[str])
_records_decoder = msgspec.json.Decoder(list[Record])
_transaction_decoder = msgspec.json.Decoder(_Transaction)


class KvApi(ConsulApi):
    """The calls to one agent, with those to the KV store and to Consul's sessions."""

    def read_keys(
        self, prefix: str, *, index: int = 0, wait: float = 0.0, one: bool = False
    ) -> ConsulCall[Records]:
        """Return the call for all keys that begin with ``prefix``; with ``one``, for that key.

        With an ``index`` above 0 it is a blocking query, held for up to ``wait`` seconds.
        """
        parameters = {} if one else {"recurse": ""}
        if index:
            # At least a millisecond: Consul takes 0s as its default of 5 minutes.
            parameters |= {"index": str(index), "wait": f"{max(wait, 0.001):.3f}s"}
        request = self._consul.http.get(_parsed, f"/v1/kv/{quote(prefix)}", params=parameters)
        call: ConsulCall[Any] = self._call(f"reading {prefix!r}", request)
        if index:
            call = call.with_timeout(query_timeout(wait))
        return replace(call, parse=_read_records, not_found_ok=True)

    def list_folders(self, prefix: str) -> ConsulCall[list[str]]:
        """Return the call for the prefixes up to the next ``/`` of all keys that begin with
        ``prefix``. Those that the token may not read are left out."""
        parameters = {"keys": "", "separator": "/"}
        request = self._consul.http.get(_parsed, f"/v1/kv/{quote(prefix)}", params=parameters)
        call: ConsulCall[Any] = self._call(f"listing {prefix!r}", request)

        def parse(reply: Reply) -> list[str]:
            return [] if reply.status == 404 else _names_decoder.decode(reply.body)

        return replace(call, parse=parse, not_found_ok=True)

    def transact(self, operations: Sequence[Operation]) -> ConsulCall[tuple[Record, ...] | Refused]:
        """Return the call that carries out all operations or none. Its result has the records of
        those that lock, unlock, set or read."""
        keys = {str(operation["Key"]) for operation in operations}
        body = json.dumps([{"KV": operation} for operation in operations])
        request = self._consul.http.put(_parsed, "/v1/txn", data=body)
        what = f"a transaction on {min(keys)!r}"
        call: ConsulCall[Any] = self._call(what, request)

        def parse(reply: Reply) -> tuple[Record, ...] | Refused:
            answer = _transaction_decoder.decode(reply.body)
            if reply.status == 200:
                return tuple(result.kv for result in answer.results or ())
            reason = "; ".join(mistake.what for mistake in answer.errors or ())
            if "Permission denied" in reason or "ACL not found" in reason:
                raise ConsulDenied(self.address, what, reason)
            return Refused(reason)

        return replace(call, parse=parse, conflict_ok=True)

    def register_service(self, payload: Mapping[str, Any]) -> ConsulCall[bool]:
        """Return the call that registers a service as the agent's API takes it (``ID``, ``Name``,
        …)."""
        request = self._consul.http.put(
            _parsed, "/v1/agent/service/register", data=json.dumps(payload)
        )
        call: ConsulCall[Any] = self._call(f"registering {payload['ID']!r}", request)
        return replace(call, parse=lambda reply: True)

    def create_session(self, name: str, service_check: str, lock_delay: float) -> ConsulCall[str]:
        """Return the call that creates a Consul session, which ends when this check of the agent's
        or the agent itself is critical. ``lock_delay`` is in seconds. Its result is the session's
        id."""
        body = {
            "Name": name,
            "NodeChecks": ["serfHealth"],
            "ServiceChecks": [{"ID": service_check}],
            "LockDelay": f"{round(lock_delay * 1000)}ms",
            "Behavior": "release",
        }
        request = self._consul.http.put(
            lambda response: str(json.loads(response.body)["ID"]),
            "/v1/session/create",
            data=json.dumps(body),
        )
        return self._call("creating a Consul session", request)

    def has_session(self, session: str) -> ConsulCall[bool]:
        """Return the call for whether a Consul session exists: a consistent read."""
        request = self._consul.http.get(
            lambda response: bool(json.loads(response.body)),
            f"/v1/session/info/{session}",
            params={"consistent": ""},
        )
        return self._call("reading the Consul session", request)

    def destroy_session(self, session: str) -> ConsulCall[bool]:
        """Return the call that ends a Consul session."""
        request = self._consul.http.put(
            lambda response: bool(json.loads(response.body)), f"/v1/session/destroy/{session}"
        )
        return self._call("destroying the Consul session", request)


def lock(key: str, value: bytes, session: str) -> Operation:
    """Write a key and lock it; refused if another session has. One that has it may write again."""
    return {"Verb": "lock", "Key": key, "Value": _encoded(value), "Session": session}


def unlock(key: str, value: bytes, session: str) -> Operation:
    """Write a key and unlock it; refused if ``session`` has not locked it."""
    return {"Verb": "unlock", "Key": key, "Value": _encoded(value), "Session": session}


def write(key: str, value: bytes) -> Operation:
    """Write a key."""
    return {"Verb": "set", "Key": key, "Value": _encoded(value)}


def delete(key: str) -> Operation:
    """Delete a key; it need not exist."""
    return {"Verb": "delete", "Key": key}


def delete_tree(prefix: str) -> Operation:
    """Delete all keys that begin with ``prefix``."""
    return {"Verb": "delete-tree", "Key": prefix}


def delete_at(record: Record) -> Operation:
    """Delete a key; refused if it was changed since it was read."""
    return {"Verb": "delete-cas", "Key": record.key, "Index": record.modify_index}


def check_at(key: str, index: int) -> Operation:
    """Refuse the transaction if a key was changed after ``index``; 0: if it exists."""
    if not index:
        return {"Verb": "check-not-exists", "Key": key}
    return {"Verb": "check-index", "Key": key, "Index": index}


def read_tree(prefix: str) -> Operation:
    """Read all keys that begin with ``prefix``, as they are after the operations before."""
    return {"Verb": "get-tree", "Key": prefix}


def _encoded(value: bytes) -> str:
    return b64encode(value).decode()


def _parsed(response: Any) -> Any:
    """Return the response: the call has a parser of its own."""
    return response


def _read_records(reply: Reply) -> Records:
    """Read the answer to a read.

    Raises:
        KeyError: it is not Consul's: a 404 without an index.
    """
    index = int(reply.headers["x-consul-index"])
    if reply.status == 404:
        return Records((), index)
    return Records(tuple(_records_decoder.decode(reply.body)), index)
