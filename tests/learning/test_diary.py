"""What a decision earned, against arithmetic by hand, in shards that live through a few hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from swarm.agents.policy import Exploration
from swarm.agents.shard import Shard
from swarm.learning.networks import Weights
from swarm.market.orders import BUY, SELL
from tests.learning.lives import NAN, Tick, learner, live
from tests.learning.sets import always, level, one_each

FLAT = {"price_forecast": np.full(24, 40.0), "price_history": np.full(24, 40.0)}
"""Known prices without a spread, of which the median is 40."""
CELLS = {
    "energy_mwh": 10,
    "power_mw": 4,
    "charge_efficiency": 0.8,
    "discharge_efficiency": 0.5,
    "degradation_cost_per_mwh": 3,
    "self_discharge_per_hour": 0,
    "min_state_of_charge": 0.1,
    "initial_state_of_charge": 0.5,
}
CHARGE, REST, DISCHARGE = ({"storage": always("storage", x)} for x in (-20.0, 0.0, 20.0))


def rewards(shard: Shard, ticks: Sequence[Tick], network: str, **told: Any) -> np.ndarray:
    """One row a tick."""
    live(shard, ticks, **{**FLAT, **told})
    found = shard.experience()[network]
    np.testing.assert_array_equal(found.tick, np.arange(len(ticks)))
    assert found.reward.dtype == np.float32
    return found.reward


def test_a_storage_is_paid_less_its_wear_and_holds_energy_of_value() -> None:
    """It holds (5 - 1) x 0.5 = 2 MWh that it could sell, each worth the 40 of the first median."""
    ticks = [
        # Takes 4 MWh: 8.2 MWh are stored, 3.6 MWh could be sold, 1.6 more than before.
        Tick(30, [-120.0], policy=CHARGE),
        # 2 of the 3.6 MW offered are sold: 2 MWh less to sell, wear 2 x 3.
        Tick(70, [140.0], lambda orders: [2_000_000], policy=DISCHARGE),
        Tick(35, [0.0], policy=REST),
        # Sells the 1.6 MWh that are left.
        Tick(55, [88.0], policy=DISCHARGE),
    ]
    money = [-120 + 1.6 * 40, 140 - 6 - 2 * 40, 0, 88 - 1.6 * 3 - 1.6 * 40]
    # 1 stands for 4 MW for an hour at the least spread of 10.
    found = rewards(learner("storage", [CELLS], CHARGE), ticks, "storage")
    np.testing.assert_allclose(found[:, 0], np.array(money) / 40, atol=1e-6)


def test_money_counts_by_the_spread_of_the_prices_that_are_known() -> None:
    """Between the 10 % and 90 % quantiles of 0, 1, ... 47 lie 37.6."""
    known = {"price_forecast": np.arange(24.0), "price_history": np.arange(24.0, 48.0)}
    shard = learner("storage", [CELLS], REST)
    found = rewards(shard, [Tick(30, [75.2])], "storage", **known)
    np.testing.assert_allclose(found, [[75.2 / (4 * 37.6)]], rtol=1e-6)


UNIT = {"capacity_mw": 10, "marginal_cost_per_mwh": 20, "emissions_kg_per_mwh": 400}


def test_a_generator_is_paid_less_fuel_and_carbon() -> None:
    """Fuel at 20 and 0.4 t at 50 are 40 per MWh; 1 stands for 10 MW for an hour at 50."""

    def part(watts: int) -> Any:
        return lambda orders: [watts]

    ticks = [
        Tick(60, [360.0], part(6_000_000)),
        Tick(90, [900.0]),
        Tick(20, [0.0], part(0)),
        # What it is fined counts as what it is paid.
        Tick(30, [30.0 - 75.0], part(1_000_000)),
    ]
    shard = learner("generator", [UNIT], {"generator": level(7)})
    found = rewards(shard, ticks, "generator", carbon_price_per_tonne=50.0)
    money = [360 - 240, 900 - 400, 0, -45 - 40]
    np.testing.assert_allclose(found[:, 0], np.array(money) / 500, atol=1e-6)


LOAD = {
    "load_mw": 3,
    "flexible_mw": 1,
    "response_price_per_mwh": 90,
    "shift_window_hours": 6,
    "load_noise": 0,
}
SHIFTS = {"consumer": always("consumer", 0.0)}


def test_a_consumer_answers_for_what_it_puts_off_and_not_for_its_load() -> None:
    """3 MWh at the price of their own tick are bought whatever it does; 1 stands for 1 MWh at 10.

    Prices differ in every tick, so that money of one with the price of another would show.
    """
    ticks = [
        # Offers to sell 1, too dear for now.
        Tick(30, [-90.0], lambda orders: [3_000_000, 0]),
        # Buys 3, sells 1 for more than the 90 at which it is glad to; it owes 1 MWh, worth 40.
        Tick(110, [-330.0 + 110.0]),
        # Catches up.
        Tick(50, [-200.0], lambda orders: [3_000_000, 1_000_000, 0]),
        Tick(20, [-60.0], lambda orders: [3_000_000, 0]),
    ]
    found = rewards(learner("consumer", [LOAD], SHIFTS), ticks, "consumer")
    np.testing.assert_allclose(found[:, 0], np.array([0, 110 - 40, 40 - 50, 0]) / 10, atol=1e-6)


def test_two_networks_of_a_home_share_what_it_earned() -> None:
    home = {**CELLS, "load_mw": 2, "solar_mw": 0, "load_noise": 0}
    policy = {**REST, "consumer": always("consumer", -20.0)}
    shard = learner("home", [home], policy)
    live(shard, [Tick(30, [-60.0]), Tick(70, [-140.0 + 20.0])], **FLAT)
    found = shard.experience()
    for network in ("storage", "consumer"):
        np.testing.assert_allclose(found[network].reward[:, 0], [0, 20 / 40], atol=1e-6)


@pytest.mark.parametrize("nominal_hz", [50.0, 60.0])
def test_a_frequency_off_nominal_costs_everybody(nominal_hz: float) -> None:
    """A tenth at 1 % off, in proportion below, no more beyond; nothing while it is unknown."""
    off = {0.0: 0.0, 0.005: 0.05, -0.005: 0.05, -0.01: 0.1, -0.03: 0.1}
    ticks = [Tick(40, [0.0], frequency_hz=nominal_hz * (1 + share)) for share in off]
    found = rewards(learner("storage", [CELLS], REST), [*ticks, Tick(40, [0.0])], "storage")
    np.testing.assert_allclose(found[:, 0], [-cost for cost in (*off.values(), 0.0)], atol=1e-6)


def test_a_reward_is_cut_at_ten() -> None:
    ticks = [Tick(40, [399.0]), Tick(40, [4e6]), Tick(40, [-4e6])]
    found = rewards(learner("storage", [CELLS], REST), ticks, "storage")
    np.testing.assert_allclose(found[:, 0], [399 / 40, 10, -10], rtol=1e-6)


def test_before_any_price_is_known_energy_and_load_have_no_value() -> None:
    unknown = dict.fromkeys(("price_forecast", "price_history"), np.full(24, np.nan))
    # Prices are squeezed into observations; nothing of them may be NaN.
    shard = learner("consumer", [LOAD], SHIFTS)
    found = rewards(shard, [Tick(NAN, [-25.0]), Tick(NAN, [0.0])], "consumer", **unknown)
    np.testing.assert_allclose(found[:, 0], [-2.5, 0], atol=1e-6)


@pytest.mark.parametrize("kind", ["storage", "ev"])
def test_over_a_run_the_potential_adds_the_value_of_what_is_left(kind: str) -> None:
    """Independent of what was decided: the sum is money, less cost, plus energy won at 40."""
    assets: list[dict[str, Any]] = [CELLS, {**CELLS, "power_mw": 8}, {**CELLS, "energy_mwh": 30}]
    if kind == "ev":
        assets = [{**each, "vehicle_to_grid": True, "trip_energy_mwh": 2} for each in assets]
    policy: Mapping[str, Weights] = one_each()[kind]["storage"]
    shard = learner(kind, assets, {"storage": policy}, Exploration(0.0, 0.0))
    draw = np.random.default_rng(3)
    hours = 40
    paid = draw.uniform(-100, 100, (hours, 3)).round(6)

    def some(orders: Any) -> np.ndarray:
        return np.where(orders.agent % 2 == 0, orders.quantity, orders.quantity // 3)

    ticks = [Tick(draw.uniform(0, 90), row, some) for row in paid]
    cells = shard.parameters.battery
    begin = cells.initial_mwh - cells.floor_mwh
    replies = live(shard, ticks, **FLAT)
    found = shard.experience()["storage"]
    # Meters of interval t come with the step of t + 1.
    meters = [reply.meters for reply in replies[1 : hours + 1]]
    cost = np.sum([m.cost_micro for m in meters if m is not None], axis=0) / 1e6
    assert meters[-1] is not None
    end = meters[-1].stored_mwh - cells.floor_mwh
    money = paid.sum(axis=0) - cost + 40 * (end - begin) * 0.5
    scale = np.array([asset["power_mw"] for asset in assets]) * 10
    assert (np.abs(found.reward) < 10).all(), "cut rewards do not add up"
    assert (cost > 0).all(), "nobody traded"
    np.testing.assert_allclose(found.reward.sum(axis=0) * scale, money, atol=1e-3)


def test_what_is_settled_leaves_the_diary_once() -> None:
    shard = learner("generator", [UNIT], {"generator": level(7)})
    told = [Tick(60, [1.0]), Tick(70, [2.0])]
    live(shard, told, **FLAT)
    assert shard.experience()["generator"].tick.tolist() == [0, 1]
    assert shard.experience() == {}


def test_the_sides_taken_are_those_meant() -> None:
    """The hours above trade as they say."""
    shard = learner("storage", [CELLS], CHARGE)
    replies = live(shard, [Tick(30, [0.0]), Tick(30, [0.0], policy=DISCHARGE)], **FLAT)
    sides = [(reply.orders.side.tolist(), reply.orders.quantity.tolist()) for reply in replies[:2]]
    assert sides == [([BUY], [4_000_000]), ([SELL], [3_600_000])]
