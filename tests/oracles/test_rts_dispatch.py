"""A day of RTS-GMLC against least-cost dispatch: same availability, commitment and ramps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import swarm
from swarm.results.run import Run
from tests.oracles.dispatch_lp import dispatch, read_units

DATA = Path(__file__).resolve().parents[2] / "../shared/data/rts_gmlc"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the RTS-GMLC data is not at ../shared/data/rts_gmlc"
)


@pytest.fixture(scope="module")
def day() -> Run:
    """One whole day, every unit available."""
    return swarm.run(
        "rts_gmlc",
        data=DATA,
        sets=("outages=false",),
        engine="inline",
        out=None,
        policy="heuristic",
    )


def test_balanced_with_nothing_unserved(day: Run) -> None:
    grid = {name: np.array(day.grid[name]) for name in day.grid.column_names}
    supply = grid["generation_w"] + grid["discharge_w"] + grid["import_w"] + grid["shed_w"]
    use = grid["load_w"] + grid["charge_w"] + grid["export_w"] + grid["spilled_w"]
    assert (supply == use).all()
    assert not grid["unserved_w"].any()
    assert not grid["spilled_w"].any()
    assert len(grid["tick"]) == 288


def test_every_row_of_the_fleet_is_there(day: Run) -> None:
    kinds = day.registry["kind"].to_pylist()
    assert len(kinds) - kinds.count("consumer") + len(day.manifest["condensers"]) == 158


def test_each_tick_costs_what_a_linear_program_says(day: Run) -> None:
    """Gap of each tick below one in a million: the offers were the costs, the clearing optimal."""
    units = read_units(day.registry, 5)
    agents = len(day.registry)
    table = day.agents
    delivered = np.array(table["delivered_w"]).reshape(-1, agents) / 1e6
    available = np.array(table["available_w"]).reshape(-1, agents) / 1e6
    weather = np.isin(np.array(day.registry["kind"].to_pylist()), ("solar", "wind"))
    grid = day.grid
    use = np.array(grid["load_w"]) + np.array(grid["charge_w"]) - np.array(grid["discharge_w"])
    begin = np.cumsum(units.width_mw, axis=1) - units.width_mw
    ours = theirs = 0.0
    last = np.full(len(units.agents), np.nan)
    for tick in range(0, 288):
        output = delivered[tick, units.agents]
        if tick % 6 == 0:
            cost, _, short = dispatch(
                units,
                use[tick] / 1e6,
                available[tick, weather].sum(),
                last,
                available[tick, units.agents],
                committed=output > 0,
            )
            assert short < 1e-6
            used = np.clip(output[:, None] - begin, 0.0, units.width_mw)
            own = (used * units.cost_per_mwh).sum()
            assert own == pytest.approx(cost, rel=1e-6)
            ours, theirs = ours + own, theirs + cost
        last = output
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert theirs > 0
