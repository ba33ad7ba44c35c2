"""The determinism contract with physics: reserve, responses, alerts and a feeder, on any packing.

`emergency` is cut to the minutes around the event, `islanding` to the loss and the return of the
connection: both call every host on the emergency lane and draw on agents of every kind.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

import swarm
from swarm.results.run import Run

WINDOWS = {
    "emergency": ("start=2025-06-18T18:20:00+02:00", "ticks=5", "fleets.vehicles.count=20"),
    "islanding": (
        *("start=2025-06-18T08:20:00+02:00", "ticks=6", "fleets.homes.count=20"),
        *("fleets.vehicles.count=8", "fleets.batteries.count=6"),
    ),
}


def window(name: str, *sets: str, out: Path | None = None, **options: object) -> Run:
    return swarm.run(
        name,
        sets=("baseline=null", *WINDOWS[name], *sets),
        out=out,
        **{"engine": "inline", **options},  # type: ignore[arg-type]
    )


@cache
def reference(name: str) -> Run:
    """On one host."""
    return window(name)


@pytest.mark.parametrize("name", sorted(WINDOWS))
def test_the_window_holds_an_emergency(name: str) -> None:
    run = reference(name)
    steps = run.table("events")["step"].to_pylist()
    assert {"sudden", "detection", "alert", "storage"} <= set(steps)
    assert any(run.agents["activated_w"].to_pylist())
    assert run.timings["alerts"]["alerts"] >= 1


@pytest.mark.parametrize("name", sorted(WINDOWS))
@pytest.mark.parametrize("hosts", [1, 3, 7])
def test_hosts_change_no_byte(name: str, hosts: int) -> None:
    agents = len(reference(name).registry)
    run = window(name, agents_per_actor=-(-agents // hosts))
    assert run.manifest["hosts"] == hosts
    assert run.digest == reference(name).digest
    assert run.metrics == reference(name).metrics


@pytest.mark.parametrize("name", sorted(WINDOWS))
def test_one_host_each_changes_no_byte(name: str) -> None:
    run = window(name, agents_per_actor=1)
    assert run.manifest["hosts"] == len(run.registry)
    assert run.digest == reference(name).digest


@pytest.mark.parametrize("name", sorted(WINDOWS))
def test_ray_changes_no_byte(ray_cluster: str, name: str, tmp_path: Path) -> None:
    agents = len(reference(name).registry)
    run = window(name, engine="ray", agents_per_actor=-(-agents // 3), out=tmp_path)
    assert run.digest == reference(name).digest
    assert run.metrics == reference(name).metrics
    assert run.timings["alerts"]["alerts"] == reference(name).timings["alerts"]["alerts"]


def test_another_seed_gives_other_bytes() -> None:
    assert window("emergency", seed=2).digest != reference("emergency").digest


@pytest.mark.parametrize(
    "change", ["grid.step_ms=10", "grid.damping=1.1", "grid.emergency.alert_latency_s=0.03"]
)
def test_physics_reach_the_bytes(change: str) -> None:
    assert window("emergency", change).digest != reference("emergency").digest
