"""The merit order of a report: true offers, or what was sold where no offers were kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.results.report import report
from swarm.results.report_merit import MOST_STEPS, MOST_TICKS, _steps
from swarm.results.run import read_run
from tests.results.reports import copied, edit_json, figure, made

Factory = pytest.TempPathFactory


def price_at(steps: Sequence[Sequence[float]], mw: float) -> float:
    """Price of the step that holds the MW of this number."""
    ends = np.cumsum([step[0] for step in steps])
    return float(steps[int(np.searchsorted(ends, mw - 1e-6))][1])


def test_curves_cross_at_the_textbook_prices(tmp_path_factory: Factory) -> None:
    """120 MW clear at 55, 150 MW at 65, 80 MW at 45: the scenario's own statement."""
    ticks = figure(report(made("textbook", tmp_path_factory)), "merit")["merit"]["ticks"]
    for tick, volume_mw, price in zip(ticks, (120, 150, 80), (55, 65, 45), strict=True):
        assert (tick["volume"], tick["price"]) == (volume_mw, price)
        assert price_at(tick["supply"], volume_mw) == price
        # Whoever buys pays the price or would have paid more.
        assert price_at(tick["demand"], volume_mw) >= price
        prices = [step[1] for step in tick["supply"]]
        assert prices == sorted(prices)
        bids = [step[1] for step in tick["demand"]]
        assert bids == sorted(bids, reverse=True)


def test_curves_hold_every_order(tmp_path_factory: Factory) -> None:
    folder = made("spike", tmp_path_factory)
    orders = read_run(folder).table("orders").to_pylist()
    for at, tick in enumerate(figure(report(folder), "merit")["merit"]["ticks"]):
        for side, steps in ((1, tick["supply"]), (-1, tick["demand"])):
            offered = [row for row in orders if (row["tick"], row["side"]) == (at, side)]
            watts = sum(row["quantity_w"] for row in offered)
            assert sum(step[0] for step in steps) == pytest.approx(watts / 1e6, rel=1e-5)
            worth = sum(row["quantity_w"] * row["price_milli_per_mwh"] for row in offered)
            drawn = sum(step[0] * step[1] for step in steps)
            assert drawn == pytest.approx(worth / 1e9, rel=1e-4)


def test_many_offers_become_few_steps() -> None:
    rng = np.random.default_rng(2)
    mw, price = rng.random(20_000), rng.normal(50, 20, 20_000)
    kind = rng.integers(0, 3, 20_000)
    steps = _steps(mw, price, kind)
    assert len(steps) <= 3 * MOST_STEPS
    assert sum(step[0] for step in steps) == pytest.approx(mw.sum())
    order = np.argsort(price)
    ends = np.cumsum(mw[order])
    for share in (0.1, 0.5, 0.9):
        true = price[order][np.searchsorted(ends, share * mw.sum())]
        assert price_at(steps, share * mw.sum()) == pytest.approx(true, abs=1.0)


def test_without_orders_it_says_what_it_shows(tmp_path_factory: Factory) -> None:
    folder = made("emergency", tmp_path_factory)
    page = report(folder)
    assert "did not keep its orders" in page.html
    run = read_run(folder)
    sold_w = [0] * 4
    for row in run.agents.to_pylist():
        sold_w[row["tick"]] += max(0, row["contract_w"])
    ticks = figure(page, "merit")["merit"]["ticks"]
    drawn = [sum(step[0] for step in tick["supply"]) for tick in ticks]
    assert drawn == pytest.approx(np.array(sold_w) / 1e6, rel=1e-5)
    copy = copied("emergency", tmp_path_factory)
    edit_json(copy / "metrics.json", agents_table="sample", agents_in_table=5, agents=286)
    assert "sample of 286" in report(copy).html


def test_a_tick_that_was_asked_for_is_there(tmp_path_factory: Factory) -> None:
    folder = made("spike", tmp_path_factory)
    page = report(folder, [2])
    assert "(tick 2, asked for)" in page.html
    assert "<option selected>2024-07-30 00:10 (tick 2, asked for)</option>" in page.html
    for tick in (-1, 4):
        with pytest.raises(UsageError, match=f"--tick {tick}: no such tick; expected 0 to 3"):
            report(folder, [tick])
    assert len(figure(page, "merit")["merit"]["ticks"]) <= MOST_TICKS
