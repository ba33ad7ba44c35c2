"""The goals of the scenarios with physics, and what their tables say of the physics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import swarm
from swarm.results.run import Run
from tests.oracles.grid_runs import (
    GridTables,
    check_books,
    check_devices,
    check_kinetic_energy,
    check_reserve,
    check_stored_energy,
)

Shipped = Callable[..., Run]
NOON = ("start=2025-05-18T12:00:00+02:00", "ticks=36")
"""Hours of `solar_surplus` in which there is one; the day takes half a minute."""
DAY = pytest.param((), marks=pytest.mark.slow, id="day")
STRIKES = 18
"""Tick of `emergency` in which the reactor trips."""
LOST = slice(30, 54)
"""Ticks of `islanding` without the connection outside."""
LOADS = ("consumer", "home")


def baseline(run: Run) -> Run:
    assert run.baseline is not None
    return run.baseline


@pytest.mark.parametrize(
    ("name", "sets"),
    [
        ("emergency", ()),
        ("islanding", ()),
        ("solar_surplus", NOON),
        pytest.param("solar_surplus", (), marks=pytest.mark.slow),
    ],
)
def test_books_close_with_and_without_the_swarm(
    shipped: Shipped, name: str, sets: tuple[str, ...]
) -> None:
    for run in (shipped(name, *sets), baseline(shipped(name, *sets))):
        t = GridTables(run)
        check_books(t)
        check_devices(t)
        if name != "solar_surplus":
            check_reserve(t)
    responses = check_stored_energy(GridTables(shipped(name, *sets)))
    assert responses > 0 or name == "solar_surplus"


def test_books_close_where_responses_are_of_the_headroom(shipped: Shipped) -> None:
    t = GridTables(shipped("price_spike"))
    check_books(t)
    check_devices(t)
    check_stored_energy(t)
    assert t.meter("activated_w")[:, t.of("generator")].any(), "no reserve is bought there"


def test_emergency_holds_with_the_swarm_and_sheds_without(shipped: Shipped) -> None:
    run = shipped("emergency")
    m, without = run.metrics, baseline(run).metrics
    assert m["nadir_hz"] > 49.0 > without["nadir_hz"]
    assert m["loss_of_load_probability"] < 0.001 < without["loss_of_load_probability"]
    assert m["stabilise_s"] < 30
    assert m["emergencies"] >= 1
    assert m["emergency_response_ms"] < 100


def test_emergency_goes_by_the_protocol(shipped: Shipped) -> None:
    rows = [row for row in GridTables(shipped("emergency")).events() if row["tick"] == STRIKES]
    steps = [row["step"] for row in rows]
    assert steps[:4] == ["sudden", "detection", "alert", "storage"]
    assert rows[0]["second"] == 0.0
    assert rows[0]["power_w"] == pytest.approx(-180e6, rel=0.02), "the reactor, 180 MW"
    # Simulated time from detection: the alert's latency, then the quickest battery.
    assert rows[2]["second"] - rows[1]["second"] == pytest.approx(0.02)
    assert rows[3]["second"] - rows[2]["second"] == pytest.approx(0.04)


@pytest.mark.parametrize("sets", [pytest.param(NOON, id="noon"), DAY])
def test_the_swarm_takes_up_the_surplus(shipped: Shipped, sets: tuple[str, ...]) -> None:
    run = shipped("solar_surplus", *sets)
    m, without = run.metrics, baseline(run).metrics
    # Fewer voltages outside +-5 % at buses that see the same weather, and less thrown away.
    assert m["bus_intervals_in_band_share"] > without["bus_intervals_in_band_share"]
    assert m["curtailed_mwh"] < 0.5 * without["curtailed_mwh"]
    assert m["feeder_failures"] == without["feeder_failures"] == 0


def test_the_island_lives_with_the_swarm(shipped: Shipped) -> None:
    run = shipped("islanding")
    steps = {row["step"] for row in GridTables(run).events()}
    assert "blackout" not in steps
    assert "under_frequency_shedding" not in steps
    assert run.metrics["loss_of_load_probability"] == 0.0
    assert baseline(run).metrics["unserved_mwh"] > 0


def test_nothing_flows_while_the_connection_is_lost(shipped: Shipped) -> None:
    t = GridTables(shipped("islanding"))
    connected = np.ones(t.ticks, dtype=bool)
    connected[LOST] = False
    assert (t.grid["connected"] == connected).all()
    flow = t.grid["import_w"] - t.grid["export_w"]
    assert not flow[LOST].any()
    assert flow[: LOST.start].all()
    assert flow[LOST.stop :].all()
    # The market learns of it one tick late, and of its return at once.
    traded = t.market["imported_w"]
    assert traded[LOST.start] != 0
    assert not traded[LOST.start + 1 : LOST.stop].any()
    assert traded[LOST.stop :].any()


@pytest.mark.parametrize(
    ("name", "sets", "limit_mw"),
    [
        ("islanding", (), (8, 8)),
        ("solar_surplus", NOON, (4, 6)),
        pytest.param("solar_surplus", (), (4, 6), marks=pytest.mark.slow),
        ("price_spike", (), (8, 8)),
    ],
)
def test_limits_of_the_connection_hold(
    shipped: Shipped, name: str, sets: tuple[str, ...], limit_mw: tuple[float, float]
) -> None:
    t = GridTables(shipped(name, *sets))
    assert t.grid["import_w"].max() <= 1e6 * limit_mw[0]
    assert t.grid["export_w"].max() <= 1e6 * limit_mw[1]
    assert (t.grid["import_w"] * t.grid["export_w"] == 0).all()


@pytest.mark.parametrize("name", ["emergency", "islanding"])
def test_what_masses_gave_is_their_change_of_speed(shipped: Shipped, name: str) -> None:
    for run in (shipped(name), baseline(shipped(name))):
        t = GridTables(run)
        check_kinetic_energy(t, 50.0)
    inertial = GridTables(shipped("emergency")).grid["inertial_w"]
    assert inertial[STRIKES] > 1000, "frequency ends the interval lower than it began"


@pytest.mark.parametrize("name", ["emergency", "islanding"])
def test_load_is_shed_in_the_declared_order(shipped: Shipped, name: str) -> None:
    t = GridTables(baseline(shipped(name)))
    load, shed = t.agents["load_w"], t.agents["shed_w"]
    priority = t.asset("shed_priority", 99.0)
    noncritical = load - np.ceil(t.asset("critical_share", 1.0) * load).astype(np.int64)
    partly = 0
    for tick in np.flatnonzero(shed.any(axis=1)):
        order = np.argsort(priority, kind="stable")
        cut, may, most = shed[tick][order], noncritical[tick][order], load[tick][order]
        into_critical = bool((cut > may).any())
        # Each gives all it may before the next gives anything.
        have = most if into_critical else may
        left = np.cumsum((have - cut)[have > 0])
        given = cut[have > 0]
        if into_critical:
            assert (cut >= may).all()
            left, given = np.cumsum((most - cut)[most > may]), (cut - may)[most > may]
        assert not given[1:][left[:-1] > 0].any(), tick
        partly += 0 < cut.sum() < may.sum()
    assert partly > 0


def test_secondary_control_restores_frequency_after_a_load_step(tmp_path: Path) -> None:
    """Restoration reserve of 4 MW or more, and 2 MW more load at once that nobody had bought."""
    file = tmp_path / "step.yaml"
    file.write_text(STEP)
    t = GridTables(swarm.run(file, engine="inline", out=None))
    check_books(t)
    check_reserve(t)
    low, end = t.grid["frequency_min_hz"][4], t.grid["frequency_end_hz"][4]
    assert low < 49.95
    assert end == pytest.approx(50.0, abs=1e-3), "five minutes later"
    assert t.grid["shed_w"].sum() == 0
    # All that was missing came from reserve, from masses and off the load by low frequency.
    came = sum(t.grid[name][4] for name in ("activated_up_w", "damping_w", "inertial_w"))
    assert came == 2_000_000


STEP = """
name: step
start: 2025-06-18T12:00:00+02:00
ticks: 6
world: {forecast: persistence} # nobody knows of the step
grid: {reserves: {containment_mw: 3, restoration_mw: 4}}
fleets:
  - name: units
    kind: generator
    count: 3
    parameters: {capacity_mw: 20, marginal_cost_per_mwh: 50, rated_mva: 25, inertia_s: 4}
  - name: town
    kind: consumer
    count: 1
    parameters: {load_mw: 30, flexible_mw: 0}
  - name: works
    kind: consumer
    count: 1
    parameters: {load_mw: 2, flexible_mw: 0}
events:
  - {type: load_step, tick: 4, duration_minutes: 60, fleets: [works], factor: 2.0}
"""
OVERLOADED = """
name: overloaded
start: 2025-06-18T12:00:00+02:00
ticks: 6
world: {forecast: perfect}
outside: {import_limit_mw: 90, export_limit_mw: 90, rated_mva: 9000}
grid: {feeder: case33bw}
fleets:
  - name: works
    kind: consumer
    count: 1
    parameters: {load_mw: 1, flexible_mw: 0, bus: "18"}
events: # twenty times the load at the far end: no voltage carries it
  - {type: load_step, tick: 2, duration_minutes: 10, fleets: [works], factor: 20}
"""


def test_a_power_flow_without_solution_is_a_state_not_the_end(tmp_path: Path) -> None:
    file = tmp_path / "overloaded.yaml"
    file.write_text(OVERLOADED)
    t = GridTables(swarm.run(file, engine="inline", out=None))
    check_books(t)
    solved = [True, True, False, False, True, True]
    assert t.grid["feeder_converged"].tolist() == solved
    assert t.run.metrics["feeder_failures"] == 2
    assert (np.isfinite(t.grid["voltage_min_pu"]) == solved).all()
    assert (t.grid["buses"] == np.where(solved, 33, 0)).all()
    # The load is served all the same, without the losses nobody knows.
    assert t.grid["load_w"][2] == pytest.approx(20e6, rel=1e-4)
    assert t.grid["import_w"][2] == t.grid["load_w"][2]
    assert t.grid["losses_w"][2] == 0 < t.grid["losses_w"][1]


WINDOW = ("baseline=null", "start=2025-06-18T18:15:00+02:00", "ticks=6")
"""`emergency` from a quarter of an hour before the event to a quarter after it."""


@pytest.mark.parametrize("helped", ["true", "false"])
def test_half_the_step_changes_nothing_that_counts(helped: str) -> None:
    fine, usual = (
        swarm.run(
            "emergency",
            sets=(*WINDOW, f"grid.swarm={helped}", f"grid.step_ms={step}"),
            engine="inline",
            out=None,
        ).metrics
        for step in (10, 20)
    )
    assert 50 - usual["nadir_hz"] == pytest.approx(50 - fine["nadir_hz"], rel=0.01)
    for name in ("stabilise_s", "unserved_mwh", "activated_up_mwh", "activated_down_mwh"):
        assert usual[name] == pytest.approx(fine[name], rel=0.01), name
