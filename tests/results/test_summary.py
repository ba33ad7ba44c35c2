"""The summary in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streams import Stream, operated_of, record_of

from swarm.grid import frequency
from swarm.results.summary import EVENT_WORDS, compared_rows, grid_rows, story, summary_rows
from swarm.results.writer import Results
from swarm.scenario.schema import Scenario


def test_rows(
    write: Callable[..., Results], by_hand_scenario: Scenario, by_hand_stream: Stream
) -> None:
    found = write(by_hand_scenario, by_hand_stream).metrics | {"volume_mwh": 1234567.891}
    rows = dict(summary_rows(found, {"wall_seconds": 1234.56, "ticks_per_second": None}))
    assert rows["traded"] == "1,234,567.89 MWh"
    assert rows["mean price"] == "1,013.33 EUR/MWh"
    assert rows["lowest to highest"] == "-10.00 to 3,000.00 EUR/MWh"
    assert rows["ticks"] == "4 of 30 min from 2025-06-18T00:00:00+01:00"
    assert rows["vehicles lacked"] == "0.25 MWh"
    assert rows["ticks of scarcity"] == "1"
    assert rows["profit, generator"] == "1,540.00 EUR"
    assert rows["renewable share"] == "61.8 %"
    assert rows["took"] == "1,234.6 s"


def test_missing_figures_are_a_dash(
    write: Callable[..., Results], by_hand_scenario: Scenario
) -> None:
    found = write(by_hand_scenario, [(record_of(0, 5), operated_of(0))]).metrics
    rows = dict(summary_rows(found, {}))
    labels = ("mean price", "lowest to highest", "renewable share", "Herfindahl index")
    assert {rows[label] for label in labels} == {"-"}
    assert "took" not in rows


@pytest.fixture
def calm(
    write: Callable[..., Results], by_hand_scenario: Scenario, by_hand_stream: Stream
) -> dict[str, Any]:
    """Figures of a run without a grid."""
    return write(by_hand_scenario, by_hand_stream).metrics


STORMY = {
    "loss_of_load_probability": 0.025,
    "balance_deviation_share": 0.0123,
    "seconds_in_band_share": 0.9876,
    "nadir_hz": 48.7004,
    "zenith_hz": 50.2,
    "steepest_hz_per_s": 0.8123,
    "stabilise_s": 70.51,
    "emergencies": 2,
    "emergency_response_ms": 69.8,
    "reserve_cost": 1234.5,
    "reserve_shortage_share": 0.25,
    "activated_up_mwh": 2.5,
    "activated_down_mwh": 0.125,
    "held_back_mwh": 1.0,
    "losses_mwh": 0.5,
    "bus_intervals_in_band_share": 0.96,
    "voltage_min_pu": 0.93,
    "voltage_max_pu": 1.0604,
    "feeder_failures": 3,
}


def test_rows_of_the_grid(calm: dict[str, Any]) -> None:
    assert dict(grid_rows(calm | STORMY)) == {
        "frequency": "48.700 to 50.200 Hz",
        "within 0.1 Hz": "98.76 % of the time",
        "steepest change": "0.812 Hz/s",
        "stabilised": "after 70.5 s",
        "emergencies": "2, storage answered after 70 ms (simulated)",
        "loss of load": "2.50 % of ticks",
        "imbalance": "1.23 % of load",
        "responded": "2.50 MWh up, 0.125 MWh down",
        "held back": "1.00 MWh",
        "reserve cost": "1,234.50 EUR",
        "reserve not found": "25.0 %",
        "voltage": "0.930 to 1.060 pu",
        "within 5 %": "96.00 % of buses and ticks",
        "feeder losses": "0.5 MWh",
        "feeder unsolved": "3 ticks",
    }
    assert set(grid_rows(calm | STORMY)) <= set(summary_rows(calm | STORMY, {}))


def test_rows_of_a_quiet_grid_leave_out_what_did_not_happen(calm: dict[str, Any]) -> None:
    quiet = {
        "stabilise_s": None,
        "emergencies": 0,
        "emergency_response_ms": None,
        "held_back_mwh": 0.0,
        "reserve_shortage_share": None,
        "bus_intervals_in_band_share": None,
    }
    assert [label for label, _ in grid_rows(calm | STORMY | quiet)] == [
        "frequency",
        "within 0.1 Hz",
        "steepest change",
        "loss of load",
        "imbalance",
        "responded",
    ]
    assert grid_rows(calm) == [], "no grid, no rows"


def test_a_run_that_ends_outside_the_band_says_so(calm: dict[str, Any]) -> None:
    rows = dict(grid_rows(calm | STORMY | {"stabilise_s": -1.0, "emergency_response_ms": None}))
    assert rows["stabilised"] == "not before the end"
    assert rows["emergencies"] == "2"


def test_comparison(calm: dict[str, Any]) -> None:
    worse = STORMY | {"nadir_hz": 47.9, "stabilise_s": -1.0, "bus_intervals_in_band_share": 0.5}
    worse |= {"shed_mwh": 9.0, "unserved_mwh": 10.0, "curtailed_mwh": 8.0, "system_cost": 200.0}
    worse["energy_mwh_by_kind"] = {"ev": {"charge": 0.5}, "storage": {"charge": 0.25}}
    rows = compared_rows(calm | STORMY, calm | worse)
    assert {label: values for label, *values in rows} == {
        "frequency": ["48.700 to 50.200 Hz", "47.900 to 50.200 Hz"],
        "within 0.1 Hz": ["98.76 % of the time"] * 2,
        "stabilised": ["after 70.5 s", "not before the end"],
        "loss of load": ["2.50 % of ticks"] * 2,
        "voltage": ["0.930 to 1.060 pu"] * 2,
        "within 5 %": ["96.00 % of buses and ticks", "50.00 % of buses and ticks"],
        "load shed": ["1.00 MWh", "9.00 MWh"],
        "load not served": ["4.00 MWh", "10.00 MWh"],
        "curtailed": ["0.5 MWh", "8.00 MWh"],
        "stored": ["0.25 MWh", "0.75 MWh"],
        "system cost": ["190.00 EUR", "200.00 EUR"],
    }


def test_a_row_that_only_one_run_has_is_compared_with_a_dash(calm: dict[str, Any]) -> None:
    quiet = STORMY | {"stabilise_s": None, "bus_intervals_in_band_share": None}
    rows = {label: values for label, *values in compared_rows(calm | STORMY, calm | quiet)}
    assert rows["stabilised"] == ["after 70.5 s", "-"]
    assert rows["voltage"] == ["0.930 to 1.060 pu", "-"]
    backwards = {label: values for label, *values in compared_rows(calm | quiet, calm | STORMY)}
    assert backwards["stabilised"] == ["-", "after 70.5 s"]
    assert list(rows) == list(backwards)


def test_story() -> None:
    events = [
        {"tick": 18, "second": 0.0, "step": "sudden", "power_w": -180e6, "frequency_hz": 50.0},
        {"tick": 18, "second": 0.4567, "step": "detection", "power_w": 0.0, "frequency_hz": 49.8},
        {"tick": 18, "second": 61.25, "step": "storage", "power_w": 1.5e9, "frequency_hz": 49.75},
        {"tick": 18, "second": 62.0, "step": "alert", "power_w": 999.9e6, "frequency_hz": 49.75},
        {"tick": 19, "second": 299.9996, "step": "made_up", "power_w": 0.0, "frequency_hz": 101.0},
    ]
    assert story(events, "2025-06-18T22:30:00+02:00", 5) == [
        "00:00:00.000   50.000 Hz  power lost or gained at once -180 MW",
        "00:00:00.456   49.800 Hz  emergency detected",
        "00:01:01.250   49.750 Hz  storage responds +1,500 MW",
        "00:01:02.000   49.750 Hz  alert to all agents; needed +1,000 MW",
        "00:09:59.999  101.000 Hz  made up",
    ]
    assert story([], "2025-06-18T22:30:00+02:00", 5) == []


def test_every_step_of_an_event_has_words() -> None:
    """A step that the frequency model tells and nobody put into words would read as code."""
    modules = Path(frequency.__file__).parent.glob("*.py")
    told = {
        step
        for module in modules
        for step in re.findall(r'event\([\w.]+, "(\w+)"', module.read_text())
    }
    assert told == EVENT_WORDS.keys()
    assert len(set(EVENT_WORDS.values())) == len(EVENT_WORDS)
