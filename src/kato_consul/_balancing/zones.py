"""Zones: who is near is asked first, as long as enough of them can be.

The zone of an instance is its metadata's ``zone``. All requests stay in the client's own while at
least 1 / `OVERPROVISION` (71 %) of the instances registered there can be used; below that only
`OVERPROVISION` times that share of them do, and the rest spills over to other zones. That is the
rule of Envoy's priority levels, whose factor it is.
"""

from collections.abc import Sequence

from kato_consul._protocols import Random
from kato_consul.models import Instance, Snapshot

OVERPROVISION = 1.4


def prefer_zone(
    among: Sequence[Instance], zone: str, snapshot: Snapshot, random: Random
) -> Sequence[Instance]:
    """Those in ``zone``, or those elsewhere when it is their turn; all when there is no choice."""
    local = [one for one in among if one.zone == zone]
    if not zone or not local or len(local) == len(among):
        return among
    registered = sum(one.zone == zone for one in snapshot.instances)
    share = OVERPROVISION * len(local) / registered
    if share >= 1.0 or random() < share:
        return local
    return [one for one in among if one.zone != zone]
