"""Tables of the physical grid: there with a grid or a feeder, and holding what was recorded."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from streams import Stream, operated_of, record_of, row, three_buses

from swarm.errors import UsageError
from swarm.grid.balance import Event, Trace, Voltages
from swarm.messages import Response
from swarm.results.folder import digest_folder
from swarm.results.run import Run
from swarm.results.tables import PHYSICAL_COLUMNS
from swarm.results.writer import Results
from swarm.scenario.schema import Scenario

Write = Callable[..., Results]
Homes = Callable[..., Scenario]
VOLTS = (
    Voltages(
        voltage_pu=np.array([1.0, 0.98, 0.97]),
        power_w=np.array([0.0, -2e6, 5e5]),
        reactive_var=np.array([0.0, -6e5, 1e5]),
        line_loading=np.array([0.4, nan]),
        line_losses_w=np.array([250.5, 12.25]),
    ),
    Voltages(*(np.full(n, 0.5) for n in (3, 3, 3, 2, 2))),
)


@pytest.fixture
def stream() -> Stream:
    """A tick of which nothing is told, a disturbed one, one without a power flow."""
    response = Response(row(4, a1=70, a2=-30), row(4, a0=5), row(4, a3=9))
    reserve = {"reserve_asked_w": (9, 8, 7, 6), "reserve_bought_w": (5, 4, 3, 0)}
    prices = {"reserve_price_milli": (2500, 0, 1000, None)}
    disturbed = operated_of(
        1,
        frequency_min_hz=49.2,
        settled_s=inf,
        connected=False,
        events=(
            Event(1, 0.0, "sudden", -4e6, 50.0),
            Event(1, 0.25, "detection", nan, 49.75),
        ),
        trace=Trace(np.array([0.0, 0.02, 0.04]), np.array([50.0, 49.99, 49.97])),
        voltages=VOLTS[1],
    )
    held = {"containment_up_w": row(4, a1=100), "restoration_down_w": row(4, a2=200)}
    record = record_of(
        1,
        4,
        response=response,
        reserve_received_micro=row(4, a1=-11, a2=22),
        meters=held,
        **reserve,
        **prices,
    )
    return [
        (record_of(0, 4), operated_of(0, frequency_min_hz=50.0, voltages=VOLTS[0])),
        (record, disturbed),
        (record_of(2, 4), operated_of(2, feeder_converged=False)),
    ]


def run_of(results: Results) -> Run:
    return Run(None, {}, results.metrics, {}, results.digest, results.parts)


@pytest.fixture
def run(write: Write, homes: Homes, stream: Stream) -> Run:
    return run_of(write(homes(4, grid={"feeder": "three.csv"}), stream, None, three_buses()))


def test_events_and_trace(run: Run) -> None:
    assert run.table("events").to_pylist() == [
        {"tick": 1, "second": 0.0, "step": "sudden", "power_w": -4e6, "frequency_hz": 50.0},
        {"tick": 1, "second": 0.25, "step": "detection", "power_w": None, "frequency_hz": 49.75},
    ]
    assert run.table("trace").to_pydict() == {
        "tick": [1, 1, 1],
        "second": [0.0, 0.02, 0.04],
        "frequency_hz": [50.0, 49.99, 49.97],
    }


def test_buses_and_lines(run: Run) -> None:
    buses = run.table("buses").to_pydict()
    assert buses["tick"] == [0, 0, 0, 1, 1, 1], "the third tick has no power flow"
    assert buses["bus"] == ["source", "middle", "end"] * 2
    assert buses["voltage_pu"] == [1.0, 0.98, 0.97, 0.5, 0.5, 0.5]
    assert buses["power_w"][:3] == [0, -2e6, 5e5]
    assert buses["reactive_var"][:3] == [0, -6e5, 1e5]
    assert run.table("lines").to_pydict() == {
        "tick": [0, 0, 1, 1],
        "line": ["source-middle", "middle-end"] * 2,
        "loading": [0.4, None, 0.5, 0.5],
        "losses_w": [250.5, 12.25, 0.5, 0.5],
    }


def test_what_each_agent_gave_and_held(run: Run) -> None:
    agents = run.agents.to_pydict()
    assert agents["activated_w"] == [0, 0, 0, 0, 0, 70, -30, 0, 0, 0, 0, 0]
    assert agents["shed_w"][4:8] == [5, 0, 0, 0]
    assert agents["held_back_w"][4:8] == [0, 0, 0, 9]
    assert agents["reserve_received_micro"] == [0, 0, 0, 0, 0, -11, 22, 0, 0, 0, 0, 0]
    assert agents["containment_up_w"][4:8] == [0, 100, 0, 0]
    assert agents["restoration_down_w"][4:8] == [0, 0, 200, 0]
    assert not any(agents["containment_down_w"] + agents["restoration_up_w"])


def test_reserve_in_the_table_of_the_market(run: Run) -> None:
    market = run.market.to_pydict()
    products = ("containment_up", "containment_down", "restoration_up", "restoration_down")
    assert [market[f"{p}_asked_w"][1] for p in products] == [9, 8, 7, 6]
    assert [market[f"{p}_bought_w"][1] for p in products] == [5, 4, 3, 0]
    prices = [market[f"{p}_price_milli_per_mw_h"] for p in products]
    assert [column[1] for column in prices] == [2500, 0, 1000, None]
    assert [column[0] for column in prices] == [None] * 4


def test_what_nobody_measured_is_null(run: Run) -> None:
    grid = run.grid.to_pydict()
    assert grid["frequency_min_hz"] == [50.0, 49.2, None]
    assert grid["voltage_min_pu"] == [None] * 3
    assert grid["settled_s"] == [None, inf, None]
    assert grid["connected"] == [True, False, True]
    assert grid["feeder_converged"] == [True, True, False]
    assert run.grid.equals(run.grid), "two reads of one table are equal"


def test_a_sample_of_agents_has_the_same_columns(
    write: Write, homes: Homes, stream: Stream, run: Run
) -> None:
    few = run_of(write(homes(4, grid={}, agents="sample", sample=2), stream, None, three_buses()))
    shown = few.agents.to_pandas()
    assert sorted(shown.agent.unique()) != list(range(4))
    whole = run.agents.to_pandas()
    expected = whole[whole.agent.isin(shown.agent)].reset_index(drop=True)
    assert expected.equals(shown)


def test_without_a_feeder_and_without_a_grid(write: Write, homes: Homes) -> None:
    calm: Stream = [(record_of(0, 4), operated_of(0))]
    plain, physical = run_of(write(homes(4), calm)), run_of(write(homes(4, grid={}), calm))
    assert not set(PHYSICAL_COLUMNS) & set(plain.agents.schema.names)
    names = [*plain.agents.schema.names, *PHYSICAL_COLUMNS]
    assert physical.agents.schema.names == names
    assert (len(physical.table("events")), len(physical.table("trace"))) == (0, 0)
    for name in ("buses", "lines"):
        with pytest.raises(UsageError, match=f"no table '{name}'"):
            physical.table(name)
    for name in ("events", "trace", "buses", "lines"):
        with pytest.raises(UsageError, match=f"no table '{name}'"):
            plain.table(name)
    assert plain.grid.equals(physical.grid)


def test_the_same_content_gives_the_same_bytes(
    write: Write, homes: Homes, stream: Stream, run: Run, tmp_path: Path
) -> None:
    again = write(homes(4, grid={"feeder": "three.csv"}), stream, tmp_path, three_buses())
    assert again.digest == run.digest == digest_folder(tmp_path)
