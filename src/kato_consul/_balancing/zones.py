"""Zone preference: keeps requests in the client's zone while enough instances there are usable.

The zone of an instance is ``zone`` in its metadata. All requests stay in the client's zone while at
least 1 / `OVERPROVISIONING_FACTOR` (71 %) of the instances registered there are usable. Below that,
only `OVERPROVISIONING_FACTOR` times the usable share of requests stays, and the rest spills over to
other zones. This is the rule of Envoy's priority levels, with its factor.
"""

from collections.abc import Sequence

from kato_consul._protocols import Random
from kato_consul.models import Instance, Snapshot

OVERPROVISIONING_FACTOR = 1.4


def prefer_zone(
    among: Sequence[Instance], zone: str, snapshot: Snapshot, random: Random
) -> Sequence[Instance]:
    """Return the instances of ``among`` to choose from for one request.

    They are those in ``zone``, or those in other zones if this request spills over. All of
    ``among`` if there is no zone to prefer.
    """
    local = [instance for instance in among if instance.zone == zone]
    if not zone or not local or len(local) == len(among):
        return among
    registered = sum(instance.zone == zone for instance in snapshot.instances)
    share = OVERPROVISIONING_FACTOR * len(local) / registered
    if share >= 1.0 or random() < share:
        return local
    return [instance for instance in among if instance.zone != zone]
