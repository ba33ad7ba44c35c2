"""RTS-GMLC: the real system against the csv module and figures made by hand."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.scenario.assets import ASSETS
from swarm.scenario.load import load_scenario
from swarm.scenario.schema import Data
from swarm.world.rts_gmlc import RtsSystem, read_rts_gmlc

ROOT = Path(__file__).resolve().parents[2] / "../shared/data/rts_gmlc"
DAY = "2020-07-16T00:00:00-07:00"
FLOOR = -150.0
real_data = pytest.mark.skipif(
    not (ROOT / "RTS_Data").is_dir(), reason="needs ../shared/data/rts_gmlc"
)


def read(
    root: Path,
    *,
    start: str = DAY,
    tick: int = 5,
    ticks: int = 288,
    horizon: int = 0,
    coarser: Any = "linear",
    floor: float = FLOOR,
) -> RtsSystem:
    return read_rts_gmlc(
        root,
        Data(format="rts_gmlc", coarser=coarser),
        start=datetime.fromisoformat(start),
        tick_minutes=tick,
        ticks=ticks,
        horizon_ticks=horizon,
        price_floor=floor,
    )


def fleets(system: RtsSystem) -> dict[str, dict[str, dict[str, Any]]]:
    return {fleet.name: {agent["name"]: agent for agent in fleet.agents} for fleet in system.fleets}


def table(path: Path, *days: str) -> list[dict[str, str]]:
    """All rows, or those of `days` (as `2020,7,16,`)."""
    head, *lines = path.read_text().splitlines()
    return list(csv.DictReader([head, *(line for line in lines if line.startswith(days or ""))]))


@pytest.fixture(scope="module")
def real() -> RtsSystem:
    return read(ROOT, horizon=288)


# The real system


@real_data
def test_every_unit_is_there_once_with_its_capacity(real: RtsSystem) -> None:
    rows = table(ROOT / "RTS_Data/SourceData/gen.csv")
    assert len(rows) == 158
    found = fleets(real)
    names = Counter(
        name for fleet, agents in found.items() if fleet != "loads" for name in agents
    ) + Counter(condenser.name for condenser in real.condensers)
    assert names == Counter(row["GEN UID"] for row in rows)
    fleet_of = {"ROR": "hydro", "HYDRO": "hydro", "RTPV": "rooftop"} | {
        kind: kind.lower() for kind in ("PV", "WIND", "CSP", "STORAGE")
    }
    by_file: Counter[str] = Counter()
    for row in rows:
        if row["Unit Type"] != "SYNC_COND":
            by_file[fleet_of.get(row["Unit Type"], "thermal")] += round(float(row["PMax MW"]) * 10)
    by_fleet = {
        fleet: round(sum(a.get("capacity_mw", a.get("power_mw")) for a in agents.values()) * 10)
        for fleet, agents in found.items()
        if fleet != "loads"
    }
    assert by_fleet == dict(by_file)
    assert sum(by_file.values()) == 145_498  # 14,549.8 MW


@real_data
def test_agents_are_valid_and_their_series_are_there(real: RtsSystem) -> None:
    for fleet in real.fleets:
        for agent in fleet.agents:
            asset = ASSETS[fleet.kind].model_validate(
                {k: v for k, v in agent.items() if k != "name"}
            )
            profile = getattr(asset, "profile", None)
            if profile is not None:
                series = real.series[profile]
                assert series.shape == (576, 1)
                assert series.min() >= 0
                assert series.max() <= 1


@real_data
def test_costs_by_hand(real: RtsSystem) -> None:
    thermal = fleets(real)["thermal"]
    oil = thermal["101_CT_1"]["cost_steps"]
    assert [step["up_to_mw"] for step in oil] == [8, 12, 16, 20]
    # 13114 BTU/kWh x 10.3494 $/MMBTU; 160 lb/MMBTU of CO2.
    assert [step["cost_per_mwh"] for step in oil] == pytest.approx(
        [135.72203, 97.86393, 98.07091, 107.13699], abs=1e-5
    )
    assert oil[0]["emissions_kg_per_mwh"] == pytest.approx(951.7457, abs=1e-4)
    coal = thermal["101_STEAM_3"]
    assert [step["up_to_mw"] for step in coal["cost_steps"]] == pytest.approx(
        [30, 45.33333, 60.66667, 76], abs=1e-4
    )
    assert coal["cost_steps"][-1]["up_to_mw"] == 76
    assert [step["cost_per_mwh"] for step in coal["cost_steps"]] == pytest.approx(
        [28.05265, 14.19122, 16.97111, 18.07250], abs=1e-5
    )
    assert coal["start_cost"] == pytest.approx(4861.4 * 2.11399)
    assert (coal["min_up_hours"], coal["min_down_hours"], coal["ramp_mw_per_minute"]) == (8, 4, 2)
    assert (coal["mean_time_to_failure_hours"], coal["mean_time_to_repair_hours"]) == (1960, 40)
    assert (coal["inertia_s"], coal["rated_mva"]) == (3, 89)


@real_data
def test_odd_units(real: RtsSystem) -> None:
    found = fleets(real)
    nuclear = found["thermal"]["121_NUCLEAR_1"]
    assert [step["cost_per_mwh"] for step in nuclear["cost_steps"]] == [8.1035, 0, 0, 0]
    assert nuclear["start_cost"] == pytest.approx(78978 * 0.81035)
    assert found["storage"]["313_STORAGE_1"] == {
        "name": "313_STORAGE_1",
        "energy_mwh": 150,
        "power_mw": 50,
        "round_trip_efficiency": 0.85,
        "degradation_cost_per_mwh": 0,
        "initial_state_of_charge": 0.5,
    }
    assert not real.series["212_CSP_1"].any()
    assert len(real.condensers) == 3
    hydro = found["hydro"]["201_HYDRO_4"]
    assert hydro["renewable"] is True
    assert hydro["offer_price_per_mwh"] == FLOOR
    assert found["rooftop"]["308_RTPV_1"]["offer_price_per_mwh"] == FLOOR
    assert "offer_price_per_mwh" not in found["pv"]["320_PV_1"]
    told = "\n".join(real.notes)
    for what in (
        "121_NUCLEAR_1",
        "212_CSP_1",
        "313_STORAGE_1",
        "114_SYNC_COND_1",
        "REAL_TIME_wind",
    ):
        assert what in told
    assert "DAY_AHEAD_pv.csv: 25 series in steps of 60 minutes, as there is no REAL_TIME" in told


@real_data
def test_regional_load_and_wind_are_those_of_the_file(real: RtsSystem) -> None:
    files = ROOT / "RTS_Data/timeseries_data_files"
    days = ("2020,7,16,", "2020,7,17,")
    load = table(files / "Load/REAL_TIME_regional_load.csv", *days)
    wind = table(files / "WIND/REAL_TIME_wind.csv", *days)
    area = {row["Bus ID"]: row["Area"] for row in table(ROOT / "RTS_Data/SourceData/bus.csv")}
    loads = fleets(real)["loads"]
    assert len(loads) == 51
    for tick in (0, 1, 107, 287, 288, 575):
        made: Counter[str] = Counter()
        for name, agent in loads.items():
            share = real.series[agent["profile"]][tick, 0]
            made[area[name.removeprefix("load-")]] += agent["load_mw"] * share
        for region in ("1", "2", "3"):
            assert made[region] == pytest.approx(float(load[tick][region]), rel=1e-12)
        for name, agent in fleets(real)["wind"].items():
            output = agent["capacity_mw"] * real.series[name][tick, 0]
            assert output == pytest.approx(float(wind[tick][name]), rel=1e-12)
    assert loads["load-101"]["load_mw"] == pytest.approx(108)


@real_data
def test_hourly_sun_is_held_or_joined_without_moving_or_losing_energy(real: RtsSystem) -> None:
    rows = table(ROOT / "RTS_Data/timeseries_data_files/PV/DAY_AHEAD_pv.csv", "2020,7,16,")
    hours = [float(row["319_PV_1"]) / 188.2 for row in rows]
    held = read(ROOT, coarser="hold").series["319_PV_1"][:, 0]
    assert held.tolist() == pytest.approx(np.repeat(hours, 12).tolist(), rel=1e-12)
    joined = real.series["319_PV_1"][:288, 0]
    middles = (np.arange(288) + 0.5) / 12
    expected = np.interp(middles, np.arange(24) + 0.5, hours)
    assert np.allclose(joined[6:-6], expected[6:-6], rtol=1e-12)
    assert joined.sum() == pytest.approx(held.sum(), rel=0.01)


@real_data
def test_roots_horizon_and_span(real: RtsSystem) -> None:
    below = read(ROOT / "RTS_Data", horizon=288)
    assert all(np.array_equal(below.series[name], real.series[name]) for name in real.series)
    assert below.notes == real.notes
    last = read(ROOT, start="2020-12-31T00:00:00+00:00", horizon=288)
    assert {len(series) for series in last.series.values()} == {288}
    with pytest.raises(UsageError, match=r"has 2020-01-01T00:00 to 2021-01-01T00:00"):
        read(ROOT, start="2020-12-31T00:05:00+00:00")
    with pytest.raises(UsageError, match="not inside the file"):
        read(ROOT, start="2019-07-16T00:00:00+00:00")


@real_data
def test_the_built_in_scenario_fits_the_data() -> None:
    scenario = load_scenario("rts_gmlc").scenario
    assert (scenario.nominal_frequency_hz, scenario.currency) == (60, "USD")
    assert scenario.data is not None
    system = read_rts_gmlc(
        ROOT,
        scenario.data,
        start=scenario.start,
        tick_minutes=scenario.tick_minutes,
        ticks=scenario.ticks,
        horizon_ticks=288,
        price_floor=scenario.market.price_floor,
    )
    dearest = max(
        step["cost_per_mwh"]
        for agent in fleets(system)["thermal"].values()
        for step in agent["cost_steps"]
    )
    assert dearest < scenario.market.price_cap
