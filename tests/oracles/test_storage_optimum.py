"""Storage scores: books that agree, a plan that reaches the optimum in a run, nobody above it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.agents import battery
from swarm.agents.policy import Heuristic
from swarm.results.run import Run
from swarm.runtime.session import Options, Silent, run_scenario
from swarm.scenario.fleets import rosters
from swarm.scenario.load import load_scenario
from swarm.scenario.schema import Scenario
from swarm.world.world import build_world
from tests.oracles.consumer_bill import outside_comfort, read_bills
from tests.oracles.storage_score import end_values, optima, profits, read_batteries

PLANS: dict[str, np.ndarray] = {}
"""What `Planned` batteries run at, watts, (ticks, n)."""


class Planned(Heuristic):
    """Storages run a plan, whatever the price; other kinds follow their heuristic."""

    def act(self, state: Any, view: Any) -> np.ndarray:
        """Shares of the limits of the tick, at prices that any market meets."""
        if not hasattr(state, "stored_mwh"):
            return super().act(state, view)
        p, hours, signal = self._parameters.battery, view.tick_hours, view.signal
        wanted = PLANS["power_w"][signal.tick]
        charge = battery.charge_limit_w(p, state.stored_mwh, hours)
        discharge = battery.discharge_limit_w(p, state.stored_mwh, hours)
        n = len(wanted)
        return np.column_stack(
            [
                np.maximum(-wanted, 0) / np.maximum(charge, 1),
                np.full(n, signal.price_cap),
                np.maximum(wanted, 0) / np.maximum(discharge, 1),
                np.full(n, signal.price_floor),
            ]
        )


def alone(name: str, ticks: int, seed: int) -> Scenario:
    """A short run of a built-in scenario with hourly ticks, which solve quickly."""
    sets = ("tick_minutes=60", "start=2025-08-05T00:00:00+10:00")
    return load_scenario(name, sets=sets, seed=seed, ticks=ticks).scenario


def run_of(scenario: Scenario, policy: str) -> Run:
    """It, in this process."""
    return run_scenario(scenario, Options(engine="inline", policy=policy, out=None), Silent())


def test_nobody_earns_more_than_the_optimum_and_its_plan_earns_it() -> None:
    scenario = alone("storage_alone", 48, seed=3)
    world = build_world(scenario, None)
    assert world.outside_price is not None
    heuristic = read_batteries(scenario, run_of(scenario, "heuristic"))
    np.testing.assert_allclose(
        heuristic.price_per_mwh, world.outside_price[: scenario.ticks], atol=0.0005
    )
    best = optima(heuristic)
    assert (best > 0).all()
    for policy in ("heuristic", "random", "passive"):
        found = read_batteries(scenario, run_of(scenario, policy))
        # The market's price is within its grid of the outside price.
        slack = 0.002 * np.abs(found.power_mw).sum(axis=0) * found.tick_hours + 0.01
        assert (profits(found) <= best + slack).all(), policy

    from swarm.learning.optimum import optimum

    p = heuristic.parameters
    value = end_values(p, heuristic.price_per_mwh)
    PLANS["power_w"] = np.column_stack(
        [
            optimum(p, i, heuristic.price_per_mwh, 1.0, end_value_per_mwh=value[i]).power_w
            for i in range(len(value))
        ]
    )
    planned = read_batteries(scenario, run_of(scenario, f"{__name__}:Planned"))
    np.testing.assert_allclose(profits(planned), best, rtol=2e-3, atol=0.5)


def test_money_is_that_of_the_market_and_of_wear() -> None:
    """Settled money against power times price by hand, and stored energy against its book."""
    scenario = alone("storage_alone", 24, seed=4)
    run = run_of(scenario, "random")
    found = read_batteries(scenario, run)
    price = np.array(run.market["price_milli_per_mwh"]) / 1000
    wear = np.maximum(found.power_mw, 0) * found.parameters.degradation_cost_per_mwh
    by_hand = (found.power_mw * price[:, None] - wear).sum(axis=0)
    np.testing.assert_allclose(found.money, by_hand, atol=0.01)
    ids = next(r.ids for r in rosters(scenario) if r.kind == "storage")
    assert found.power_mw.shape == (24, len(ids))
    low = -found.power_mw.clip(max=0).sum(axis=0) * found.parameters.charge_efficiency
    high = found.power_mw.clip(min=0).sum(axis=0) / found.parameters.discharge_efficiency
    lost = low - high - found.gained_mwh
    assert (lost >= -1e-3).all()
    tight = found.parameters.self_discharge_per_hour == 0
    np.testing.assert_allclose(lost[tight], 0, atol=1e-3)


def test_a_passive_consumer_is_billed_for_its_load() -> None:
    scenario = alone("consumers_alone", 24, seed=5)
    run = run_of(scenario, "passive")
    found = read_bills(scenario, run)
    price = np.array(run.market["price_milli_per_mwh"]) / 1000
    load = np.array(run.agents["load_w"]).reshape(24, -1) / 1e6
    # Load is bought as expected; what it differs by is settled with the imbalance penalty.
    np.testing.assert_allclose(found.bill.sum(), (load * price[:, None]).sum(), rtol=0.01)
    assert not found.outside_comfort.any()
    responding = read_bills(scenario, run_of(scenario, "heuristic"))
    assert responding.discomfort.sum() > 0
    np.testing.assert_allclose(responding.drawn_mwh, found.drawn_mwh, rtol=1e-6)


def test_outside_comfort_by_hand() -> None:
    """Three consumers over four hours: unserved, put off too cheaply, put off for too long."""
    backlog = np.array([[0, 0, 1], [0, 2, 1], [0, 2, 1], [0, 0, 0]], dtype=float)
    reduced = np.zeros((4, 3))
    reduced[1, 1] = reduced[0, 2] = 1
    unserved = np.zeros((4, 3))
    unserved[3, 0] = 1
    found = outside_comfort(
        price_per_mwh=np.array([60.0, 40, 60, 60]),
        reduced_w=reduced,
        unserved_w=unserved,
        backlog_mwh=backlog,
        comfort_price_per_mwh=np.array([50.0, 50, 50]),
        window_hours=np.array([2.0, 3, 2]),
        tick_hours=1.0,
    )
    expected = np.zeros((4, 3), dtype=bool)
    expected[3, 0] = True  # unserved
    expected[1, 1] = True  # 40 is below its comfort price
    expected[2, 2] = True  # three hours old, with a window of two
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("price", [[-40.0, -30.0, -50.0], [20.0, 30.0, 90.0]])
def test_energy_left_has_a_value_that_is_never_negative(price: list[float]) -> None:
    p = battery.build(next(r for r in rosters(alone("storage_alone", 1, 0)) if r.kind == "storage"))
    worth = np.median(price) - p.degradation_cost_per_mwh
    np.testing.assert_allclose(
        end_values(p, np.array(price)), np.maximum(p.discharge_efficiency * worth, 0)
    )
