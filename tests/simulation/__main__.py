"""Prints the figures of docs/balancing.md: ``python -m tests.simulation``."""

from kato_consul._balancing.policies import POLICIES
from tests.simulation import scenarios

TABLED = (
    scenarios.cold_start,
    scenarios.one_slow_of_eleven,
    scenarios.one_refusing,
    scenarios.one_failing,
    scenarios.all_failing,
    scenarios.all_refusing,
    scenarios.rolling_restart,
    scenarios.killed,
)


def main() -> None:
    """All scenarios with all policies."""
    for scenario in TABLED:
        print(f"\n{scenario.__name__}")
        print("| policy | failed | p50 ms | p95 ms | p99 ms | p99.9 ms | load | share |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for policy in POLICIES:
            one = scenario(policy)
            times = " | ".join(f"{1000 * t:.0f}" for t in (one.p50, one.p95, one.p99, one.p999))
            print(
                f"| {policy} | {one.failed} of {one.offered:,} | {times} | {one.load:.2f} "
                f"| {100 * one.extreme:.1f} % |"
            )
    print("\nscale_out: share of the newcomer at first, half-way, afterwards")
    for policy in POLICIES:
        print(f"| {policy} | " + " | ".join(f"{s:.2f}" for s in scenarios.scale_out(policy)) + " |")


if __name__ == "__main__":
    main()
