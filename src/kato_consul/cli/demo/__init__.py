"""``kato-consul demo``: a workload on a local fleet, with a crash, checked at the end."""
