"""A short run of the real thing: its ledger, its balance, and where it is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swarm.results.run import Run, read_run
from swarm.results.summary import summary_rows
from swarm.runtime.session import run
from swarm.scenario.schema import Scenario

SCENARIO = {
    "name": "small",
    "seed": 5,
    "ticks": 30,
    "outside": {"import_limit_mw": 100, "export_limit_mw": 100, "renewable_share": 0.2},
    "results": {"orders": True},
    "fleets": [
        {"name": f"some-{kind}", "kind": kind, "count": 3}
        for kind in ("consumer", "ev", "generator", "home", "solar", "storage", "wind")
    ],
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWARM_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        scenario = Scenario.model_validate(SCENARIO)
        memory = run(scenario, engine="inline", out=None)
        kept = run(scenario, engine="inline", out=tmp_path_factory.mktemp("runs"))
    assert memory.digest == kept.digest
    assert memory.metrics == kept.metrics
    return kept


def test_read_back(small: Run) -> None:
    assert isinstance(small.run_dir, Path)
    again = read_run(small.run_dir)
    assert (again.digest, again.metrics) == (small.digest, small.metrics)


def test_every_account_adds_up(small: Run) -> None:
    """What agents earn after cost is what the system paid for less: one identity over all money."""
    market, agents = small.market.to_pandas(), small.agents.to_pandas()
    assert small.metrics["ledger_residual_micro"] == 0
    received = agents.groupby("tick").received_micro.sum()
    others = market[["outside_micro", "operator_micro", "rounding_micro"]].sum(axis=1)
    assert (received.to_numpy() + others.to_numpy() == 0).all()
    profit = sum(small.metrics["profit_by_kind"].values())
    rounding = market.rounding_micro.sum() / 1e6
    system_cost, operator = small.metrics["system_cost"], small.metrics["operator_received"]
    assert profit + system_cost + operator + rounding == pytest.approx(0, abs=1e-6)


def test_orders_give_the_contracts(small: Run) -> None:
    orders, agents = small.table("orders").to_pandas(), small.agents.to_pandas()
    outside = len(small.registry)
    assert orders.agent.max() == outside
    orders["signed_w"] = orders.side * orders.accepted_w
    sold = orders.groupby(["tick", "agent"]).signed_w.sum()
    contract = agents.set_index(["tick", "agent"]).contract_w
    inside = sold[sold.index.get_level_values("agent") < outside]
    assert (inside == contract.reindex(inside.index)).all()
    assert contract.abs().sum() == inside.abs().sum()
    assert (orders.groupby("tick").signed_w.sum() == 0).all()


def test_grid_is_the_sum_of_agents(small: Run) -> None:
    agents, grid = small.agents.to_pandas(), small.grid.to_pandas().set_index("tick")
    for name in ("generation_w", "load_w", "curtailed_w"):
        assert (agents.groupby("tick")[name].sum() == grid[name]).all(), name
    supply = grid.generation_w + grid.discharge_w + grid.import_w + grid.shed_w
    assert (supply == grid.load_w + grid.charge_w + grid.export_w + grid.spilled_w).all()


def test_figures_from_the_tables(small: Run) -> None:
    market, grid, found = small.market.to_pandas(), small.grid.to_pandas(), small.metrics
    prices = market.price_milli_per_mwh.dropna() / 1000
    assert found["mean_price"] == pytest.approx(prices.mean())
    assert (found["min_price"], found["max_price"]) == (prices.min(), prices.max())
    assert found["volume_mwh"] == pytest.approx(market.volume_w.sum() / 12e6)
    assert found["imports_mwh"] == pytest.approx(grid.import_w.sum() / 12e6)
    agents = small.agents.join(small.registry.select(["agent", "kind"]), "agent").to_pandas()
    profit = (agents.received_micro - agents.cost_micro).groupby(agents.kind).sum() / 1e6
    assert found["profit_by_kind"] == pytest.approx(profit.to_dict())
    sold = agents.contract_w.clip(lower=0).groupby(agents.agent).sum().tolist()
    shares = np.array([*sold, market.imported_w.clip(lower=0).sum()], dtype=float)
    shares *= 100 / shares.sum()
    assert found["herfindahl_index"] == pytest.approx((shares**2).sum())


def test_summary_speaks_of_it(small: Run) -> None:
    rows = dict(summary_rows(small.metrics, small.timings))
    assert rows["mean price"] == f"{small.metrics['mean_price']:,.2f} USD/MWh"
    assert rows["agents"].startswith("21 (3 consumer, 3 ev")
    assert "ticks/s" in rows["took"]
