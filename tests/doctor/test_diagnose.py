"""`kato_consul.diagnose`, as library users call it."""

from kato_consul import Settings, Severity, diagnose


def test_unreachable_consul_is_a_finding() -> None:
    """An unreachable Consul is returned as a finding, not raised; there is no progress."""
    lines: list[str] = []
    settings = Settings(consul_addr="127.0.0.1:1", service="kato")
    diagnosis = diagnose(settings, on_progress=lines.append)
    (finding,) = diagnosis.findings
    assert (finding.name, diagnosis.worst) == ("consul.unreachable", Severity.ERROR)
    assert finding.what == diagnosis.facts.unreachable
    assert lines == []
