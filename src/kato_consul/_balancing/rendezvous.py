"""Rendezvous hashing: ranks the instances for a session.

Weighted rendezvous hashing (Thaler & Ravishankar 1998; weights after Schindelhauer & Schomaker
2005): every instance gets a score for the session, and the highest wins. When an instance leaves,
only its own sessions move, each to its second choice. When one joins, only the sessions that rank
it first move.

Scores are computed from service ids, not addresses, so an instance that returns at another address
keeps its sessions. The hash is the same in every process, so all clients agree.

Affinity keeps caches and connections in use. It does not guarantee that a session has a single
writer.
"""

import math
from collections.abc import Iterable
from hashlib import blake2b

from kato_consul.models import Instance


def rank(key: str, instances: Iterable[Instance]) -> list[Instance]:
    """Return the instances, most preferred first; those of weight 0 are last."""
    return sorted(
        instances,
        key=lambda instance: (-score(key, instance.uid, instance.weight), instance.uid),
    )


def score(key: str, uid: str, weight: int = 1) -> float:
    """Return the instance's score for the key: above 0, or 0 for weight 0.

    The chance of the highest score is proportional to the weight.
    """
    digest = blake2b(f"{key}\0{uid}".encode(), digest_size=8).digest()
    # Uniform in (0, 1). The half excludes both ends, where the logarithm is 0 or infinite. With 52
    # bits it is not rounded away.
    uniform = ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52
    return -weight / math.log(uniform)
