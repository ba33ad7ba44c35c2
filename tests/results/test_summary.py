"""The summary in words."""

from __future__ import annotations

from collections.abc import Callable

from streams import Stream, operated_of, record_of

from swarm.results.summary import summary_rows
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
