"""The demo: a workload on a local fleet, with a crash, verified at the end."""
