"""Key figures of the physical grid against arithmetic done by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from streams import MW, Stream, operated_of, record_of, three_buses

from swarm.grid.balance import Event, Voltages
from swarm.results.grid_kpis import GRID_DEFINITIONS
from swarm.results.kpis import DEFINITIONS
from swarm.results.writer import Results
from swarm.scenario.schema import Scenario

Write = Callable[..., Results]
CALM = {
    "frequency_min_hz": 49.99,
    "frequency_max_hz": 50.01,
    "steepest_hz_per_s": 0.001,
    "outside_100_mhz_s": 0.0,
    "voltage_min_pu": 0.98,
    "voltage_max_pu": 1.01,
    "buses": 3,
    "buses_in_band": 3,
}
"""An interval in which little happened, on a feeder of three buses."""


def scenario(feeder: str | None = None, **given: Any) -> Scenario:
    """Half-hour ticks of one battery."""
    data = {
        "name": "stormy",
        "ticks": 4,
        "tick_minutes": 30,
        "fleets": [{"name": "battery", "kind": "storage", "count": 1}],
        "grid": {"feeder": feeder},
    }
    return Scenario.model_validate(data | given)


def volts(*loading: float) -> Voltages:
    none = np.zeros(3)
    return Voltages(none, none, none, np.array(loading), np.zeros(len(loading)))


def seconds(write: Write, *settled: float, nominal: int = 50) -> dict[str, Any]:
    """Figures of intervals that were back inside the band after the given times."""
    stream: Stream = [
        (record_of(tick, 1), operated_of(tick, **CALM | {"settled_s": after}))
        for tick, after in enumerate(settled)
    ]
    given = {"ticks": len(settled), "nominal_frequency_hz": nominal}
    return write(scenario(**given), stream).metrics


@pytest.fixture
def found(write: Write) -> dict[str, Any]:
    """A calm tick, one with an emergency, one in which nothing is known of the feeder."""
    euros = 1_000_000
    calm = operated_of(
        0,
        **CALM,
        load_w=10 * MW,
        imbalance_w=2 * MW,
        losses_w=MW,
        voltages=volts(0.4, nan),
    )
    stormy = operated_of(
        1,
        frequency_min_hz=48.7,
        frequency_max_hz=50.2,
        steepest_hz_per_s=0.8,
        outside_100_mhz_s=90.0,
        settled_s=70.5,
        load_w=10 * MW,
        unserved_w=3 * MW,
        shed_w=3 * MW,
        imbalance_w=-4 * MW,
        activated_up_w=5 * MW,
        activated_down_w=MW,
        held_back_w=2 * MW,
        voltage_min_pu=0.93,
        voltage_max_pu=1.06,
        buses=3,
        buses_in_band=1,
        feeder_converged=False,
        voltages=volts(0.2, 1.1),
        events=(
            Event(1, 0.0, "sudden", -4e6, 50.0),
            Event(1, 0.3, "detection", nan, 49.8),
            Event(1, 200.0, "detection", nan, 49.7),
        ),
        response_s=0.07,
    )
    dark = operated_of(
        2,
        **CALM | {"buses": 0, "buses_in_band": 0, "voltage_min_pu": nan, "voltage_max_pu": nan},
        feeder_converged=False,
        response_s=0.04,
    )
    sold = {
        "reserve_asked_w": (4 * MW, 4 * MW, 2 * MW, 2 * MW),
        "reserve_bought_w": (4 * MW, 3 * MW, 2 * MW, 0),
        "availability_micro": 30 * euros,
        "activation_micro": -12 * euros,
        "reserve_penalty_micro": 4 * euros,
    }
    stream = [
        (record_of(0, 1, **sold), calm),
        (record_of(1, 1, **sold), stormy),
        (record_of(2, 1), dark),
    ]
    return write(scenario("case33bw", ticks=3), stream, feeder=three_buses()).metrics


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss_of_load_probability", 1 / 3),
        # 3 MW for half an hour.
        ("expected_energy_not_served_mwh", 1.5),
        ("unserved_mwh", 1.5),
        # 2 and 4 MW off, of 20 MW.
        ("balance_deviation_share", 0.3),
        # 90 of three times 1,800 seconds.
        ("seconds_in_band_share", 1 - 90 / 5400),
        ("nadir_hz", 48.7),
        ("zenith_hz", 50.2),
        ("steepest_hz_per_s", 0.8),
        ("stabilise_s", 70.5),
        ("emergencies", 2),
        ("emergency_response_ms", 70),
        # Availability 60, activation -24, fines 8.
        ("reserve_availability_cost", 60),
        ("reserve_activation_cost", -24),
        ("reserve_fines", 8),
        ("reserve_cost", 28),
        # 24 MW asked for, 18 found.
        ("reserve_shortage_share", 0.25),
        ("activated_up_mwh", 2.5),
        ("activated_down_mwh", 0.5),
        ("held_back_mwh", 1),
        ("losses_mwh", 0.5),
        # 3 and 1 of 6 buses and ticks; nobody knows the third tick.
        ("bus_intervals_in_band_share", 4 / 6),
        ("voltage_min_pu", 0.93),
        ("voltage_max_pu", 1.06),
        ("line_loading_max", 1.1),
        ("feeder_failures", 2),
    ],
)
def test_by_hand(found: dict[str, Any], name: str, value: float) -> None:
    assert found[name] == pytest.approx(value, rel=1e-14, abs=0)


def test_every_figure_is_defined_and_written_in_its_order(found: dict[str, Any]) -> None:
    assert found.keys() == DEFINITIONS.keys()
    assert GRID_DEFINITIONS.keys() <= DEFINITIONS.keys()
    assert None not in [found[name] for name in GRID_DEFINITIONS]
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("settled", "longest"),
    [
        ([nan, nan], None),
        ([nan, 12.5, nan], 12.5),
        ([40.0, 12.5], 40.0),
        # Outside at the end of an interval: the next goes on counting where it stopped.
        ([inf, 20.0], 1820.0),
        ([inf, inf, 5.0, nan], 3605.0),
        # Back inside from the first moment of the next interval on.
        ([inf, nan], 1800.0),
        ([inf, 20.0, 300.0], 1820.0),
        ([nan, 8.0, inf], -1.0),
        ([inf, inf], -1.0),
    ],
)
def test_stabilising_is_counted_over_the_borders_of_ticks(
    write: Write, settled: list[float], longest: float | None
) -> None:
    assert seconds(write, *settled)["stabilise_s"] == longest


def test_a_voltage_band_needs_a_feeder_and_the_rest_a_grid(write: Write) -> None:
    stream: Stream = [(record_of(0, 1), operated_of(0, **CALM, load_w=MW))]
    bare = write(scenario(ticks=1), stream).metrics
    of_feeder = set(list(GRID_DEFINITIONS)[-5:])
    assert of_feeder == {
        "bus_intervals_in_band_share",
        "voltage_min_pu",
        "voltage_max_pu",
        "line_loading_max",
        "feeder_failures",
    }
    quiet = {"stabilise_s", "emergency_response_ms", "reserve_shortage_share"}
    assert {n for n in GRID_DEFINITIONS if bare[n] is None} == of_feeder | quiet

    megawatts = write(scenario(ticks=1, grid=None), stream).metrics
    always = {"loss_of_load_probability", "expected_energy_not_served_mwh"}
    assert {n for n in GRID_DEFINITIONS if megawatts[n] is not None} == always


def test_nothing_is_divided_by_no_load(write: Write) -> None:
    stream: Stream = [(record_of(0, 1), operated_of(0, **CALM))]
    assert write(scenario(ticks=1), stream).metrics["balance_deviation_share"] == 0


def test_an_unrated_line_has_no_loading(write: Write) -> None:
    stream: Stream = [(record_of(0, 1), operated_of(0, **CALM, voltages=volts(nan, nan)))]
    found = write(scenario("case33bw", ticks=1), stream, feeder=three_buses()).metrics
    assert found["line_loading_max"] is None
    assert found["bus_intervals_in_band_share"] == 1
