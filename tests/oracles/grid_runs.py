"""The tables of a run with physics, as a reader sees them who knows only the Parquet files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from swarm.results.run import Run

BATTERIES = ("storage", "ev", "home")


class GridTables:
    """Tables of one run as arrays; those of agents are (ticks, agents)."""

    def __init__(self, run: Run) -> None:
        registry = run.registry.to_pylist()
        self.run = run
        self.ids = [row["id"] for row in registry]
        self.kind = np.array([row["kind"] for row in registry])
        self.assets: list[dict[str, Any]] = [json.loads(row["parameters"]) for row in registry]
        self.minutes = int(run.grid.schema.metadata[b"tick_minutes"])
        self.grid = {name: _array(run.grid[name]) for name in run.grid.schema.names}
        self.market = {name: _array(run.market[name]) for name in run.market.schema.names}
        agents, kinds = run.agents, run.kinds
        self.ticks = len(self.grid["tick"])
        self.agents = {
            name: _array(agents[name]).reshape(self.ticks, -1) for name in agents.schema.names
        }
        self.kinds = {
            name: _array(kinds[name]).reshape(self.ticks, -1) for name in kinds.schema.names
        }

    def of(self, *kinds: str) -> np.ndarray:
        """bool (agents,): of one of these kinds."""
        return np.isin(self.kind, kinds)

    def asset(self, name: str, missing: float = np.nan) -> np.ndarray:
        """One parameter of all agents, (agents,); `missing` for those that have none."""
        values = [asset.get(name) for asset in self.assets]
        return np.array([missing if value is None else value for value in values], dtype=float)

    def meter(self, name: str) -> np.ndarray:
        """A column of the agents' table; zeros where the scenario has no grid."""
        found = self.agents.get(name)
        return np.zeros((self.ticks, len(self.ids)), dtype=np.int64) if found is None else found

    def events(self) -> list[dict[str, Any]]:
        """Rows of the events' table, in order."""
        rows: list[dict[str, Any]] = self.run.table("events").to_pylist()
        return rows


def _array(column: Any) -> np.ndarray:
    values: np.ndarray = column.combine_chunks().to_numpy(zero_copy_only=False)
    return values


def check_books(t: GridTables) -> None:
    """Every watt once, in every tick, exactly."""
    g, a, k = t.grid, t.agents, t.kinds
    into = g["generation_w"] + g["discharge_w"] + g["import_w"] + g["shed_w"]
    out = g["load_w"] + g["charge_w"] + g["export_w"] + g["losses_w"] + g["spilled_w"]
    assert (into == out).all(), into - out
    assert (g["generation_w"] - g["inertial_w"] >= 0).all()
    for name in ("discharge_w", "charge_w", "import_w", "export_w", "shed_w", "spilled_w"):
        assert (g[name] >= 0).all(), name
    # What agents did, re-added.
    activated, shed, held_back = (t.meter(n) for n in ("activated_w", "shed_w", "held_back_w"))
    flow, unshed = g["import_w"] - g["export_w"], g["shed_w"] - shed.sum(axis=1)
    at_meters = (a["delivered_w"] + activated + shed - held_back).sum(axis=1)
    left = at_meters + flow - g["losses_w"] + g["inertial_w"] + g["damping_w"]
    assert (left == g["spilled_w"] - unshed).all()
    assert (unshed >= 0).all()
    assert (a["delivered_w"] == a["generation_w"] - a["load_w"] + a["battery_w"]).all()
    assert (g["unserved_w"] == a["unserved_w"].sum(axis=1) + g["shed_w"]).all()
    assert (g["curtailed_w"] == a["curtailed_w"].sum(axis=1) + held_back.sum(axis=1)).all()
    # Contracts: what is sold is bought, the connection outside included.
    assert (a["contract_w"].sum(axis=1) + t.market["imported_w"] == 0).all()
    # The kinds are the agents, and the grid is the kinds.
    for name in ("delivered_w", "generation_w", "load_w", "activated_w", "shed_w", "held_back_w"):
        assert (k[name].sum(axis=1) == t.meter(name).sum(axis=1)).all(), name
    assert (g["activated_up_w"] == np.maximum(activated, 0).sum(axis=1)).all()
    assert (g["activated_down_w"] == np.maximum(-activated, 0).sum(axis=1)).all()
    assert (g["held_back_w"] == k["held_back_w"].sum(axis=1)).all()
    battery = a["battery_w"] + np.where(t.of(*BATTERIES), activated, 0)
    assert (g["discharge_w"] == np.maximum(battery, 0).sum(axis=1)).all()
    assert (g["charge_w"] == np.maximum(-battery, 0).sum(axis=1)).all()


def check_devices(t: GridTables) -> None:
    """Nobody gave, took, lost or stored what was not there."""
    activated, shed, held_back = (t.meter(n) for n in ("activated_w", "shed_w", "held_back_w"))
    assert (shed >= 0).all()
    assert (held_back >= 0).all()
    assert (shed <= t.agents["load_w"]).all()
    assert (held_back <= t.agents["generation_w"]).all()
    batteries, consumers = t.of(*BATTERIES), t.of("consumer")
    machines, weather = t.of("generator"), t.of("solar", "wind")
    power = np.abs(t.agents["battery_w"] + activated)[:, batteries]
    assert (power <= 1e6 * t.asset("power_mw")[batteries] + 1).all()
    put_off = activated[:, consumers]
    assert (put_off >= 0).all(), "loads respond upwards only"
    assert (put_off <= 1e6 * t.asset("flexible_mw")[consumers] + 1).all()
    assert (put_off <= t.agents["load_w"][:, consumers]).all()
    plant = t.agents["generation_w"] + activated - held_back
    assert (plant[:, machines] <= 1e6 * t.asset("capacity_mw")[machines] + 1).all()
    assert (plant[:, machines | weather] >= 0).all()
    assert (activated[:, weather] <= 0).all(), "the weather gives no more than it gave"
    standing = machines & (t.agents["generation_w"] == 0)
    assert not activated[standing].any(), "a unit that stands responds"


def check_reserve(t: GridTables) -> None:
    """Outside emergencies nobody gives more than the reserve he sold; where reserve is bought."""
    up = t.meter("containment_up_w") + t.meter("restoration_up_w")
    down = t.meter("containment_down_w") + t.meter("restoration_down_w")
    assert (t.grid["reserve_held_w"] <= (up + down).sum(axis=1)).all()
    calm = ~emergency_ticks(t)
    assert (t.agents["activated_w"] <= up)[calm].all()
    assert (-t.agents["activated_w"] <= down)[calm].all()


def emergency_ticks(t: GridTables) -> np.ndarray:
    """bool (ticks,): the emergency protocol was at work in some part of the interval."""
    active, found = False, np.zeros(t.ticks, dtype=bool)
    rows = t.events()
    for tick in range(t.ticks):
        steps = [row["step"] for row in rows if row["tick"] == tick]
        found[tick] = active or "detection" in steps
        for step in steps:
            active = step == "detection" or (active and step not in ("recovered", "blackout"))
    return found


def check_stored_energy(t: GridTables) -> float:
    """Batteries re-added from power, efficiency and response, within bounds; MWh of responses."""
    hours, moved = t.minutes / 60, 0.0
    power, activated = t.agents["battery_w"], t.meter("activated_w")
    for agent in np.flatnonzero(t.of(*BATTERIES)):
        asset = t.assets[agent]
        split = asset["round_trip_efficiency"] ** 0.5
        into, out_of = asset["charge_efficiency"] or split, asset["discharge_efficiency"] or split
        kept = (1 - asset["self_discharge_per_hour"]) ** hours
        level = asset["energy_mwh"] * asset["initial_state_of_charge"]
        low = asset["energy_mwh"] * asset["min_state_of_charge"]
        high = asset["energy_mwh"] * asset["max_state_of_charge"]
        for tick in range(t.ticks):
            level = level - t.agents["trip_mwh"][tick, agent]
            # It stands still at the floor.
            level = max(level * kept, min(level, low))
            # The meter shows the schedule; the response is made good a tick later.
            metered = t.agents["stored_mwh"][tick, agent]
            scheduled = power[tick, agent] / 1e6 * hours
            assert abs(level - _taken(scheduled, into, out_of) - metered) < 1e-9, tick
            level -= _taken(scheduled + activated[tick, agent] / 1e6 * hours, into, out_of)
            assert level <= high + 1e-9, (t.ids[agent], tick)
            assert level >= low - 1e-9 or t.kind[agent] == "ev", (t.ids[agent], tick)
            moved += abs(activated[tick, agent]) / 1e6 * hours
    return moved


def _taken(energy_mwh: float, into: float, out_of: float) -> float:
    """Stored energy that `energy_mwh` at the meter takes, charging negative."""
    return energy_mwh * into if energy_mwh < 0 else energy_mwh / out_of


def kinetic_energy_error(t: GridTables, nominal_hz: float) -> np.ndarray:
    """What masses inside gave by the table less what their change of speed says, W; an island.

    Energy of rotating masses is E (f / f0)^2 with E of the table (`inertia_kws`), so each interval
    gives E ((f_begin / f0)^2 - (f_end / f0)^2).
    """
    end = t.grid["frequency_end_hz"] / nominal_hz
    begin = np.append(1.0, end[:-1])
    given = 1e3 * t.grid["inertia_kws"] * (begin**2 - end**2) / (t.minutes * 60)
    return t.grid["inertial_w"] - given


def check_kinetic_energy(t: GridTables, nominal_hz: float) -> None:
    """On an island masses gave what their change of speed says.

    Left out are intervals in which protection took machines off or the grid was lost, the ones
    after them, and those in which so few masses turn that inverters stand in for them.
    """
    lost = {row["tick"] for row in t.events() if row["step"] in ("trip", "blackout")}
    known = np.array([tick not in lost and tick - 1 not in lost for tick in range(t.ticks)])
    known &= ~t.grid["connected"] & (1000 * t.grid["inertia_kws"] > 0.1 * t.grid["load_w"])
    # The swing equation is linear in the deviation, the energy of a mass is its square: they differ
    # by 2 % at most. What groups gave is rounded to whole watts.
    allowed = 0.02 * np.abs(t.grid["inertial_w"]) + 6
    error = kinetic_energy_error(t, nominal_hz)
    assert (np.abs(error) <= allowed)[known].all(), error
