"""Affinity: which instances a session prefers, and in which order.

Weighted rendezvous hashing (Thaler & Ravishankar 1998; weights after Schindelhauer & Schomaker
2005): every instance gets a score for the session, the highest wins. When an instance goes, only
its own sessions move, each to its second choice; when one comes, only those move that prefer it.
Scores come from service ids, not addresses, so an instance that returns elsewhere keeps its
sessions; and from a hash that is the same in every process, so all clients agree.

Affinity saves caches and connections. It is not what keeps a session to one writer.
"""

import math
from collections.abc import Iterable
from hashlib import blake2b

from kato_consul.models import Instance


def rank(key: str, instances: Iterable[Instance]) -> list[Instance]:
    """The instances, most preferred first; those with weight 0 last, for when nobody else is."""
    return sorted(instances, key=lambda one: (-score(key, one.uid, one.weight), one.uid))


def score(key: str, instance_id: str, weight: int = 1) -> float:
    """The instance's score for the key: above 0, unless its weight is, and by chance in proportion
    to the weight."""
    digest = blake2b(f"{key}\0{instance_id}".encode(), digest_size=8).digest()
    # Uniform in (0, 1): the half keeps both ends out, where the logarithm is 0 or infinite; with 52
    # bits it is not rounded away.
    uniform = ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52
    return -weight / math.log(uniform)
