"""Energy of stores, vehicles and shifted load, re-added by a reader that knows only the files.

Nothing of the simulator is used but its Parquet tables: parameters come from the registry.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from swarm.results.run import Run

HOURS = 5 / 60


class Tables:
    """The result files of one run, by agent."""

    def __init__(self, run_dir: Path) -> None:
        registry = pq.read_table(run_dir / "data" / "registry").to_pylist()
        self.assets = [json.loads(row["parameters"]) for row in registry]
        self.kinds = np.array([row["kind"] for row in registry])
        self.agents = pq.read_table(run_dir / "data" / "agents")
        self.market = pq.read_table(run_dir / "data" / "market")

    def column(self, name: str) -> np.ndarray:
        """(ticks, agents)."""
        return self.agents[name].to_numpy().reshape(-1, len(self.kinds))

    def of(self, *kinds: str) -> np.ndarray:
        """Indices of the agents of these kinds."""
        return np.flatnonzero(np.isin(self.kinds, kinds))


@pytest.fixture(scope="module", params=["price_spike", "renewable_heavy"])
def tables(request: pytest.FixtureRequest, shipped: Callable[..., Run]) -> Tables:
    folder = shipped(request.param).run_dir
    assert folder is not None
    return Tables(folder)


def efficiencies(asset: dict[str, float]) -> tuple[float, float]:
    split = asset["round_trip_efficiency"] ** 0.5
    charge, discharge = asset["charge_efficiency"], asset["discharge_efficiency"]
    return (
        split if charge is None else charge,
        split if discharge is None else discharge,
    )


def test_stored_energy_adds_up_and_stays_in_bounds(tables: Tables) -> None:
    stored, power, trips = (tables.column(name) for name in ("stored_mwh", "battery_w", "trip_mwh"))
    moved = 0.0
    for agent in tables.of("storage", "ev", "home"):
        asset = tables.assets[agent]
        into, out_of = efficiencies(asset)
        level = asset["energy_mwh"] * asset["initial_state_of_charge"]
        kept = (1 - asset["self_discharge_per_hour"]) ** HOURS
        for tick in range(len(stored)):
            energy = power[tick, agent] / 1e6 * HOURS
            level = (level - trips[tick, agent]) * kept
            level += -energy * into if energy < 0 else -energy / out_of
            assert level == pytest.approx(stored[tick, agent], abs=1e-9), (agent, tick)
            moved += abs(energy)
        assert stored[:, agent].max() <= asset["energy_mwh"] * asset["max_state_of_charge"] + 1e-9
        assert stored[:, agent].min() >= -1e-12
        assert abs(power[:, agent]).max() <= asset["power_mw"] * 1e6 + 1
    assert moved > 0


def test_vehicles_leave_with_what_they_need_or_it_is_counted(tables: Tables) -> None:
    stored, missed, power = (
        tables.column(name) for name in ("stored_mwh", "missed_mwh", "battery_w")
    )
    start_hour = 0.0
    hour = (start_hour + np.arange(len(stored)) * HOURS) % 24
    departures = 0
    for agent in tables.of("ev"):
        asset = tables.assets[agent]
        arrival, departure = asset["arrival_hour"], asset["departure_hour"]
        here = (hour - arrival) % 24 < (departure - arrival) % 24
        assert not power[~here, agent].any(), "a vehicle charged while it was away"
        if not asset["vehicle_to_grid"]:
            assert power[:, agent].max() <= 0
        required = asset["required_state_of_charge"] * asset["energy_mwh"]
        for tick in np.flatnonzero(here[:-1] & ~here[1:]) + 1:
            lacking = max(0.0, required - stored[tick - 1, agent])
            assert missed[tick, agent] == pytest.approx(lacking, abs=1e-9)
            departures += 1
    assert departures > 0 or not len(tables.of("ev"))


def test_shifted_load_comes_back(tables: Tables) -> None:
    shifted, backlog = tables.column("shifted_w"), tables.column("backlog_mwh")
    consumers = tables.of("consumer")
    put_off = 0.0
    for agent in consumers:
        asset = tables.assets[agent]
        level, waiting = 0.0, 0
        for tick in range(len(shifted)):
            level += shifted[tick, agent] / 1e6 * HOURS
            put_off += max(0.0, shifted[tick, agent]) / 1e6 * HOURS
            assert level == pytest.approx(backlog[tick, agent], abs=1e-9)
            assert level >= -1e-12
            waiting = waiting + 1 if level > 1e-12 else 0
            # Everything put off is caught up inside the window that its first tick opened.
            assert waiting * HOURS <= asset["shift_window_hours"] + HOURS + 1e-9
    assert put_off > 0


def test_money_closes(tables: Tables) -> None:
    received = tables.agents["received_micro"].to_numpy().sum()
    others = sum(
        tables.market[name].to_numpy().sum()
        for name in ("outside_micro", "operator_micro", "rounding_micro")
    )
    assert received + others == 0
