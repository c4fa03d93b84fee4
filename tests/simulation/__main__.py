"""Simulation report: prints the figures of docs/balancing.md (``python -m tests.simulation``)."""

from kato_consul._balancing.policies import POLICIES
from tests.simulation import scenarios

REPORTED = (
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
    """Run all scenarios with all policies."""
    for scenario in REPORTED:
        print(f"\n{scenario.__name__}")
        print("| policy | failed | p50 ms | p95 ms | p99 ms | p99.9 ms | load | share |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for policy in POLICIES:
            figures = scenario(policy)
            percentiles = (figures.p50, figures.p95, figures.p99, figures.p999)
            latencies = " | ".join(f"{1000 * seconds:.0f}" for seconds in percentiles)
            print(
                f"| {policy} | {figures.failed} of {figures.offered:,} | {latencies} "
                f"| {figures.load:.2f} | {100 * figures.share:.1f} % |"
            )
    print("\nscale_out: share of the new instance at first, half-way, afterwards")
    for policy in POLICIES:
        print(f"| {policy} | " + " | ".join(f"{s:.2f}" for s in scenarios.scale_out(policy)) + " |")


if __name__ == "__main__":
    main()
