"""`gateway_pool`: which instances a configuration has, and how they are written. A table."""

import pytest

from kato_consul.gateways import GatewayPool, gateway_pool
from kato_consul.models import Health, Instance, Snapshot


def instance(name: str, **more: object) -> Instance:
    """Return an instance at 10.0.0.1:8000."""
    given = {"service": "kato", "address": "10.0.0.1", "port": 8000, **more}
    return Instance(name, **given)  # type: ignore[arg-type]


def pool(*instances: Instance, use_critical: bool = False) -> GatewayPool:
    """Return the pool of these instances."""
    return gateway_pool(Snapshot("kato", instances, use_critical=use_critical))


def names(*instances: Instance, use_critical: bool = False) -> list[str]:
    """Return the names of the servers."""
    return [server.name for server in pool(*instances, use_critical=use_critical).servers]


def test_passing_instances_are_used_and_those_with_a_warning_if_none_is() -> None:
    """As clients do it."""
    one, two = instance("a"), instance("b", health=Health.WARNING)
    three, four = instance("c", health=Health.CRITICAL), instance("d", health=Health.MAINTENANCE)
    assert names(one, two, three, four) == ["a"]
    assert names(two, three, four) == ["b"]
    assert names(three, four) == []
    assert names(three, four, use_critical=True) == ["c"]


def test_weights() -> None:
    """An instance of weight 0 is used if there is no other; large weights are scaled down."""
    one, two = instance("a", weight=0), instance("b", weight=3)
    assert [server.weight for server in pool(one, two).servers] == [3]
    assert [server.weight for server in pool(one).servers] == [1]
    three, four = instance("c", weight=65_535), instance("d", weight=1)
    assert [server.weight for server in pool(two, three, four).servers] == [1, 256, 1]


def test_servers_have_one_scheme_and_one_path() -> None:
    """Those of most instances; of two that are as frequent always the same."""
    http, https = instance("a"), instance("b", scheme="https")
    deep, deeper = instance("c", path="/kato"), instance("d", path="/kato")
    found = pool(http, https, deep, deeper)
    assert (found.scheme, found.path) == ("http", "/kato")
    assert [server.name for server in found.servers] == ["c", "d"]
    assert found.left_out == (
        "a: it is at http://…, and most others are at http://…/kato",
        "b: it is at https://…, and most others are at http://…/kato",
    )
    assert pool(http, https).servers == pool(https, http).servers


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"address": "fe80::1%eth0"}, "its address 'fe80::1%eth0' has a zone"),
        ({"path": "/a$b"}, "its path '/a$b' has characters that a configuration cannot have"),
        ({"path": "/a;b"}, "its path '/a;b' has characters that a configuration cannot have"),
        ({"path": "/a%20b"}, "its path '/a%20b' has characters"),
    ],
)
def test_what_no_configuration_can_have_is_left_out(given: dict[str, str], why: str) -> None:
    """With the reason."""
    found = pool(instance("odd", **given), instance("b"))
    assert [server.name for server in found.servers] == ["b"]
    assert len(found.left_out) == 1
    assert found.left_out[0].startswith(f"odd: {why}")


def test_names_are_ids_as_far_as_these_are_plain() -> None:
    """Two ids never get one name."""
    ids = ["kato-1", "a b", "a;b", 'x"; }\n{', "ä", "k" * 100, f"{'k' * 99}l"]
    found = names(*(instance(one) for one in ids))
    assert "kato-1" in found
    assert len(set(found)) == len(ids)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-") for name in found)


def test_numbers_depend_on_the_instance_alone() -> None:
    """HAProxy hashes by them: one that leaves must not change those of others."""
    instances = [instance(f"kato-{number}") for number in range(20)]
    every = {server.name: server.number for server in pool(*instances).servers}
    assert len(set(every.values())) == 20
    assert all(0 < number < 2**31 for number in every.values())
    for left in range(20):
        rest = pool(*instances[:left], *instances[left + 1 :])
        assert {one.name: one.number for one in rest.servers}.items() <= every.items()


def test_ipv6_addresses_have_brackets_where_a_port_follows() -> None:
    """``address`` has none."""
    (server,) = pool(instance("a", address="2001:db8::1")).servers
    assert (server.address, server.netloc) == ("2001:db8::1", "[2001:db8::1]:8000")
