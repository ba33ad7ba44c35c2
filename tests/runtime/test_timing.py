"""Wall-clock figures: what is told of alerts, and that nothing else is timed."""

from __future__ import annotations

import pytest

import swarm
from swarm.runtime.timing import alert_timings


def test_alerts_in_milliseconds() -> None:
    assert alert_timings([]) is None
    assert alert_timings([0.004]) == {"alerts": 1, "p50_ms": 4, "p99_ms": 4, "max_ms": 4}
    spread = alert_timings([milliseconds / 1000 for milliseconds in range(101)])
    assert spread == {"alerts": 101, "p50_ms": 50, "p99_ms": 99, "max_ms": 100}


@pytest.mark.parametrize(("ticks", "alerts"), [(2, False), (5, True)])
def test_a_run_tells_of_its_alerts(ticks: int, alerts: bool) -> None:
    """The unit fails in the third tick; what follows is called out once at least."""
    sets = ("start=2025-06-18T18:20:00+02:00", "baseline=null")
    if not alerts:
        sets = (*sets, "events=[]")
    run = swarm.run("emergency", ticks=ticks, sets=sets, engine="inline", out=None)
    found = run.timings["alerts"]
    assert (found is not None) is alerts
    assert (run.metrics["emergencies"] > 0) is alerts
    if found is not None:
        assert found["alerts"] >= run.metrics["emergencies"]
        assert 0 <= found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
