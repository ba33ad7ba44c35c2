"""RTS-GMLC: a small system made here, and what can be wrong with its files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.scenario.schema import Data
from swarm.world.rts_gmlc import RtsSystem, read_rts_gmlc

DAY = "2020-02-29T00:00:00+00:00"
FLOOR = -150.0


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


GEN_COLUMNS = (
    "GEN UID,Unit Type,PMax MW,PMin MW,Min Down Time Hr,Min Up Time Hr,Ramp Rate MW/Min,"
    "Start Heat Cold MBTU,Start Heat Warm MBTU,Non Fuel Start Cost $,MTTF Hr,MTTR Hr,"
    "Fuel Price $/MMBTU,Output_pct_0,Output_pct_1,Output_pct_2,Output_pct_3,Output_pct_4,HR_avg_0,"
    "HR_incr_1,HR_incr_2,HR_incr_3,HR_incr_4,VOM,Emissions CO2 Lbs/MMBTU,Inertia MJ/MW,Base MVA,"
    "Pump Load MW,Storage Roundtrip Efficiency"
)
STEAM = (
    "1_STEAM_1,STEAM,100,40,4,8,2,20,10,5,0,0,2,0.4,0.4,1,NA,NA,10000,9,8000,NA,NA,1,100,3,120,0,0"
)
ZEROS = "0,0,0,0,0,0,0,0,0,NA,NA,NA,NA,NA,0,NA,NA,NA,NA,0,0,0,0,0,0"
WIND = f"1_WIND_1,WIND,50,0,{ZEROS}"
HYDRO = f"1_HYDRO_1,HYDRO,10,0,{ZEROS}"
CSP = f"1_CSP_1,CSP,100,30,{ZEROS}"
GEN, BUS = "SourceData/gen.csv", "SourceData/bus.csv"
WIND_FILE = "timeseries_data_files/wind/day_ahead_WIND.csv"
HYDRO_FILE = "timeseries_data_files/Hydro/DAY_AHEAD_hydro.csv"
LOAD_FILE = "timeseries_data_files/Load/REAL_TIME_regional_load.csv"


def hourly(name: str, values: list[object]) -> str:
    lines = [
        f"2020,2,{29 + k // 24 if k < 24 else 1},{k % 24 + 1},{v}" for k, v in enumerate(values)
    ]
    lines = [line if k < 24 else line.replace("2020,2", "2020,3") for k, line in enumerate(lines)]
    return "\n".join([f"Year,Month,Day,Period,{name}", *lines]) + "\n"


def small(folder: Path) -> Path:
    """Two days over the leap day: a steam, a wind and a hydro unit, and loads in one area."""
    load = [f"2020,{m},{d},{p},{100 + p}" for m, d in ((2, 29), (3, 1)) for p in range(1, 289)]
    files = {
        GEN: "\n".join([GEN_COLUMNS, STEAM, WIND, HYDRO]) + "\n",
        BUS: "Bus ID,MW Load,Area\n1,30,7\n2,10,7\n3,0,7\n",
        WIND_FILE: hourly("1_WIND_1", list(range(48))),
        HYDRO_FILE: hourly("1_HYDRO_1", [5] * 48),
        LOAD_FILE: "\n".join(["Year,Month,Day,Period,7", *load]) + "\n",
    }
    for name, text in files.items():
        path = folder / "RTS_Data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def edit(root: Path, name: str, change: Callable[[str], str]) -> None:
    path = root / "RTS_Data" / name
    path.write_text(change(path.read_text()))


def test_small_system(tmp_path: Path) -> None:
    system = read(small(tmp_path), horizon=1000)
    found = fleets(system)
    steam = found["thermal"]["1_STEAM_1"]
    assert [(s["up_to_mw"], s["cost_per_mwh"]) for s in steam["cost_steps"]] == [
        (40, 21),
        (100, 17),
    ]
    assert steam["start_cost"] == 25
    assert steam["mean_time_to_failure_hours"] is None
    assert steam["emissions_kg_per_mwh"] == pytest.approx(0.45359237 * (400 * 1 + 600 * 0.8))
    assert found["loads"]["load-1"] == {
        "name": "load-1",
        "load_mw": 388 * 0.75,
        "flexible_mw": 0.0,
        "profile": "load-region-7",
    }
    assert list(found["loads"]) == ["load-1", "load-2"]
    assert system.series["load-region-7"][:, 0].tolist() == pytest.approx(
        [(101 + k % 288) / 388 for k in range(576)]
    )
    wind = system.series["1_WIND_1"][:, 0]
    assert wind[6 * 12 + 5 : 6 * 12 + 7].mean() * 50 == pytest.approx(6)  # around 6:30
    assert wind[24 * 12] * 50 == pytest.approx(23.5 + 1 / 24)  # over midnight of the leap day
    assert {len(series) for series in system.series.values()} == {576}


def test_finer_than_a_tick_is_averaged(tmp_path: Path) -> None:
    load = read(small(tmp_path), tick=60, ticks=24).series["load-region-7"][:, 0]
    assert load[0] * 388 == pytest.approx(sum(range(101, 113)) / 12)


def test_a_window_has_the_values_of_a_longer_one(tmp_path: Path) -> None:
    root = small(tmp_path)
    whole = read(root, ticks=576)
    part = read(root, start="2020-02-29T07:00:00+00:00", ticks=30, horizon=6)
    for name, series in part.series.items():
        assert np.array_equal(series, whole.series[name][84:120])


def test_real_time_is_preferred_and_too_much_is_cut_and_told(tmp_path: Path) -> None:
    root = small(tmp_path)
    lines = [f"2020,{m},{d},{p},60" for m, d in ((2, 29), (3, 1)) for p in range(1, 289)]
    path = root / "RTS_Data/timeseries_data_files/wind/REAL_TIME_wind.csv"
    path.write_text("\n".join(["Year,Month,Day,Period,1_WIND_1", *lines]) + "\n")
    system = read(root)
    assert (system.series["1_WIND_1"] == 1).all()
    assert any("288 values above PMax" in n or "289 values above PMax" in n for n in system.notes)


def test_csp_with_and_without_inflow(tmp_path: Path) -> None:
    root = small(tmp_path)
    edit(root, GEN, lambda text: text + CSP + "\n")
    without = read(root)
    assert without.series["1_CSP_1"].shape == (288, 1)
    assert not without.series["1_CSP_1"].any()
    assert any("1_CSP_1" in note and "Natural_Inflow" in note for note in without.notes)
    path = root / "RTS_Data/timeseries_data_files/CSP/DAY_AHEAD_Natural_Inflow.csv"
    path.parent.mkdir()
    path.write_text(hourly("1_CSP_1", [150, *[50] * 47]))
    inflow = read(root, coarser="hold")
    assert inflow.series["1_CSP_1"][11:13, 0].tolist() == [1.0, 0.5]
    assert fleets(inflow)["csp"]["1_CSP_1"]["min_output_mw"] == 0


def test_unsorted_rows_are_sorted_and_told(tmp_path: Path) -> None:
    root = small(tmp_path)
    plain = read(root)

    def turn(text: str) -> str:
        head, *lines = text.splitlines()
        return "\n".join([head, *reversed(lines)]) + "\n"

    edit(root, WIND_FILE, turn)
    turned = read(root)
    assert np.array_equal(plain.series["1_WIND_1"], turned.series["1_WIND_1"])
    assert any("not in ascending order" in note for note in turned.notes)


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


HEAD = "GEN UID,Storage,Max Volume GWh,Initial Volume GWh,position\n"
STORAGE = f"1_STORAGE_1,STORAGE,50,0,{ZEROS[:-3]}50,85\n"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (GEN, lambda t: t + STEAM + "\n", "line 5: GEN UID 1_STEAM_1 is there twice"),
        (GEN, swap("100,40", "100,140"), "1_STEAM_1: column 'PMin MW' is '140'.*PMax MW, 100"),
        (GEN, swap("100,40", "x,40"), "1_STEAM_1: column 'PMax MW' is 'x'; expected a number"),
        (GEN, swap("100,40", "-1,40"), "'PMax MW' is '-1'; expected a finite number, zero or more"),
        (GEN, swap("STEAM,100", "STEM,100"), "'Unit Type' is 'STEM'.*did you mean 'STEAM'"),
        (GEN, swap("0.4,0.4,1", "0.4,0.4,0.9"), "1_STEAM_1: column 'Output_pct_2' is '0.9'"),
        (GEN, swap("0.4,0.4,1", "0.4,0.3,1"), "'Output_pct_1' is '0.3'; expected output points"),
        (GEN, swap("8000,NA", "NA,NA"), "'HR_incr_2' is 'NA'; expected a number"),
        (
            GEN,
            lambda t: t + f"1 S,SYNC_COND,0,0,{ZEROS}\n",
            "GEN UID 1 S: gives no valid condenser",
        ),
        (GEN, swap("VOM", "VOMM"), "no column 'VOM'.*did you mean 'VOMM'"),
        (GEN, swap("1_STEAM_1", "1 STEAM"), "GEN UID 1 STEAM: gives no valid generator: name"),
        (GEN, lambda t: t[:-20] + "\n", "line 4 has .* cells where the header has 29"),
        (GEN, lambda t: "", "is empty"),
        (GEN, lambda t: t + STORAGE, "storage.csv: there is no such file"),
        (BUS, swap("2,10", "2,ten"), "Bus ID 2: column 'MW Load' is 'ten'"),
        (BUS, swap("1,30,7", "1,30,8"), "no column '8'"),
        (WIND_FILE, swap("1_WIND_1", "1_WIND_2"), "no column '1_WIND_1'.*did you mean '1_WIND_2'"),
        (
            WIND_FILE,
            swap("2,29,5,4\n", "2,29,5,x\n"),
            r"row 5 \(2020-2-29 period 5\).*'1_WIND_1' is 'x'",
        ),
        (WIND_FILE, swap("2,29,5,4\n", "2,29,5,\n"), "row 5 .* is empty"),
        (WIND_FILE, swap("2,29,5,4\n", "2,29,5,-4\n"), "row 5 .* is -4; expected a finite number"),
        (
            WIND_FILE,
            swap("2,29,5,4\n", "2,29,5,nan\n"),
            "row 5 .* is nan; expected a finite number",
        ),
        (WIND_FILE, swap("2,29,5,4\n", "2,29,5.5,4\n"), "row 5 .*'Period' is '5.5'.*whole number"),
        (WIND_FILE, swap("2,29,5,4\n", "2,29,4,4\n"), "2020-02-29 period 4 is there twice"),
        (WIND_FILE, swap("2020,2,29,5,4\n", ""), "2020-02-29 period 5 is missing"),
        (WIND_FILE, swap("2,29,5,4\n", "2,30,5,4\n"), r"2020-2-30 period 5\) does not exist"),
        (WIND_FILE, swap("2,29,5,4\n", "2,29,25,4\n"), "periods are 1 to 24"),
        (WIND_FILE, lambda t: t[: t.index("2020,3,1,20")], "to 2020-03-01 period 19; .*cut off"),
        (WIND_FILE, lambda t: t[: t.index("3,1,20")], "broken line"),
        (LOAD_FILE, lambda t: "Year,Month,Day,Period,7\n", "has column names and no rows"),
    ],
)
def test_what_is_wrong_is_refused_by_name(
    tmp_path: Path, name: str, change: Callable[[str], str], said: str
) -> None:
    root = small(tmp_path)
    edit(root, name, change)
    with pytest.raises(UsageError, match=said) as error:
        read(root)
    assert str(root) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("basins", "said"),
    [
        ("1_STORAGE_1,H,0.1,0.2,head\n", "Initial Volume GWh' is '0.2'"),
        ("1_STORAGE_1,T,0.1,0.1,tail\n", "0 rows with GEN UID 1_STORAGE_1 and position head"),
    ],
)
def test_storage_basins(tmp_path: Path, basins: str, said: str) -> None:
    root = small(tmp_path)
    edit(root, GEN, lambda text: text + STORAGE)
    path = root / "RTS_Data/SourceData/storage.csv"
    path.write_text(HEAD + basins)
    with pytest.raises(UsageError, match=said):
        read(root)
    path.write_text(HEAD + "1_STORAGE_1,H,0.1,0.025,head\n")
    made = fleets(read(root))["storage"]["1_STORAGE_1"]
    assert (made["energy_mwh"], made["initial_state_of_charge"]) == (100, 0.25)


def test_missing_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read(tmp_path / "none")
    with pytest.raises(UsageError, match=r"no RTS_Data/SourceData"):
        read(tmp_path)
    root = small(tmp_path)
    with pytest.raises(UsageError, match=r"price_floor is 5"):
        read(root, floor=5)
    with pytest.raises(UsageError, match="do not divide"):
        read(root, tick=7, ticks=1)
    shutil.rmtree(root / "RTS_Data/timeseries_data_files/wind")
    with pytest.raises(UsageError, match=r"neither REAL_TIME_wind.csv .* series of 1_WIND_1"):
        read(root)
