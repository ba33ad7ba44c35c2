"""The trained policy: what its networks say is what its agents do, and write down."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from swarm.agents.act import LEVELS
from swarm.agents.policy import Exploration, Learned
from swarm.agents.shard import Shard, ShardSpec
from swarm.errors import RunError
from swarm.learning.networks import Weights
from swarm.market.orders import BUY, SELL
from swarm.messages import NOTHING, Orders
from swarm.runtime.packing import cut
from tests.agents.helpers import shard_spec, signal
from tests.learning.lives import GREEDY, Tick, learner, live
from tests.learning.sets import always, drawn, level

PRICE, PRICE_NOW = 3, 4
"""Where observations hold the last clearing price, squeezed and against the known ones."""
ASSETS: dict[str, dict[str, Any]] = {
    "consumer": {
        "load_mw": 3,
        "flexible_mw": 1,
        "response_price_per_mwh": 90,
        "shift_window_hours": 4,
    },
    "ev": {"vehicle_to_grid": True, "arrival_hour": 1, "departure_hour": 0},
    "generator": {"capacity_mw": 10, "min_output_mw": 0, "start_cost": 0},
    "home": {"load_mw": 2, "energy_mwh": 4, "power_mw": 2, "solar_mw": 0},
    "solar": {"capacity_mw": 8},
    "storage": {"energy_mwh": 10, "power_mw": 4, "initial_state_of_charge": 0.5},
    "wind": {"capacity_mw": 8},
}
every_kind = pytest.mark.parametrize("kind", ASSETS)


def first_orders(kind: str, policy: dict[str, Weights]) -> Orders:
    return learner(kind, [ASSETS[kind]], policy).step(signal(0), NOTHING, NOTHING).orders


@pytest.mark.parametrize(("wanted", "price"), [(0, 20.0), (7, 20 + 7 * 180 / 19), (19, 200.0)])
def test_a_generator_offers_at_the_level_of_highest_value(wanted: int, price: float) -> None:
    orders = first_orders("generator", {"generator": level(wanted)})
    assert (orders.side.tolist(), orders.quantity.tolist()) == ([SELL], [10_000_000])
    np.testing.assert_allclose(orders.price / 1000, price, atol=1e-3)


@pytest.mark.parametrize("kind", ["solar", "wind"])
@pytest.mark.parametrize(("wanted", "price"), [(0, -100.0), (19, 0.0)])
def test_sun_and_wind_offer_between_minus_100_and_0(kind: str, wanted: int, price: float) -> None:
    orders = first_orders(kind, {"generator": level(wanted)})
    assert orders.price.tolist() == [price * 1000]


@pytest.mark.parametrize(
    ("output", "side", "power"),
    [(-20.0, BUY, 1.0), (-0.5, BUY, np.tanh(0.5)), (0.0, 0, 0.0), (20.0, SELL, 1.0)],
)
def test_a_storage_charges_below_zero_and_discharges_above(
    output: float, side: int, power: float
) -> None:
    orders = first_orders("storage", {"storage": always("storage", output)})
    assert orders.side.tolist() == [side] * int(power > 0)
    np.testing.assert_allclose(orders.quantity.sum(), power * 4e6, rtol=1e-6)


def test_a_home_puts_off_a_share_of_its_charging() -> None:
    """Beside its load of 2 MW it would charge at 2 MW."""
    policy = {"storage": always("storage", -20.0), "consumer": always("consumer", 0.0)}
    orders = first_orders("home", policy)
    assert orders.side.tolist() == [BUY, BUY]
    assert orders.quantity.tolist() == [2_000_000, 1_000_000]


@pytest.mark.parametrize(("output", "price"), [(-20.0, 123.0), (0.0, 121.5), (20.0, 120.0)])
def test_a_consumer_asks_the_price_of_the_dearest_share_of_its_hours(
    output: float, price: float
) -> None:
    """120 to 123 in the four hours of its window; all of them are dearer than its comfort price."""
    shard = learner("consumer", [ASSETS["consumer"]], {"consumer": always("consumer", output)})
    ahead = {"price_forecast": np.arange(120.0, 144.0)}
    orders = shard.step(signal(0, **ahead), NOTHING, NOTHING).orders
    assert orders.quantity[orders.side == BUY].tolist() == [3_000_000]
    sold = orders.side == SELL
    assert (orders.quantity[sold].tolist(), orders.price[sold].tolist()) == (
        [1_000_000],
        [price * 1000],
    )


def several(kind: str, n: int, first: int = 30) -> ShardSpec:
    r = np.random.default_rng(5)
    series = {role: r.random((400, n)) for role in ("load", "availability")}
    return shard_spec(kind, [ASSETS[kind]] * n, series=series, policy="trained", first=first)


@every_kind
def test_every_agent_acts_on_the_weights_of_its_own_row(kind: str) -> None:
    """As it would if its row were the policy of all; also after new weights in the run."""
    n = 4
    spec = several(kind, n)
    own, shared = drawn({kind: n})[kind], drawn({kind: 1}, seed=2)[kind]
    at_once, later = [], []
    for part in (cut(spec, 0, 1), cut(cut(spec, 1, n), 0, 1), cut(cut(spec, 1, n), 1, n - 1)):
        shard = Shard(replace(part, learned=Learned(shared)))
        shard.take(Learned(own))
        later += actions(shard).tolist()
    whole = replace(spec, learned=Learned(own))
    for part in (cut(whole, 0, 3), cut(whole, 3, n)):
        at_once += actions(Shard(part)).tolist()
    alone = []
    for row in range(n):
        one = {
            network: {name: array[row : row + 1] for name, array in weights.items()}
            for network, weights in own.items()
        }
        alone.append(actions(Shard(replace(spec, learned=Learned(one))))[row].tolist())
    assert at_once == alone
    assert later == alone
    assert len({tuple(row) for row in alone}) > 1, "all act alike"


def actions(shard: Shard) -> np.ndarray:
    """The first action of each of its agents."""
    taken: list[np.ndarray] = []
    act = shard.policy.act

    def noted(state: Any, view: Any) -> np.ndarray:
        taken.append(act(state, view))
        return taken[-1]

    shard.policy.act = noted  # type: ignore[method-assign]
    shard.step(signal(0, price_forecast=np.linspace(20, 90, 24)), NOTHING, NOTHING)
    return taken[0]


def test_weights_of_a_network_must_be_there() -> None:
    with pytest.raises(RunError, match="policy 'trained' of home has no weights 'consumer'"):
        learner("home", [ASSETS["home"]], {"storage": always("storage", 0.0)})


@every_kind
def test_observations_follow_each_other_and_show_their_own_tick(kind: str) -> None:
    """Also over the calls of `experience`, from learning to learning."""
    policy = drawn({kind: 1})[kind]
    shard = learner(kind, [ASSETS[kind]] * 3, policy, Exploration(0.5, 0.5), first=20)
    prices = [30.0 + 7 * tick for tick in range(9)]
    ticks = [Tick(price, [0.0, price, -price]) for price in prices]
    live(shard, ticks)
    for network, found in shard.experience().items():
        assert found.tick.tolist() == list(range(9))
        assert found.agent.tolist() == [20, 21, 22]
        np.testing.assert_array_equal(found.observation[1:], found.next_observation[:-1])
        # A tick sees the price of the one before, of the first none is known.
        before = np.array([0.0, *prices[:-1]])
        for seen, price in ((found.observation, before), (found.next_observation, prices)):
            expected = np.broadcast_to(np.arcsinh(np.array(price) / 50) / 7, (3, 9)).T
            np.testing.assert_allclose(seen[:, :, PRICE], expected, atol=1e-6)
        assert network in policy
    assert shard.experience() == {}


def test_agents_remember_what_they_sold_asked_and_were_paid() -> None:
    """The last four numbers of what they see; the known prices are 50, with a spread of 1."""
    shard = learner("wind", [ASSETS["wind"]], {"generator": level(19)})
    ticks = [Tick(40, [160.0], lambda orders: orders.quantity // 2), *[Tick(40, [0.0])] * 2]
    live(shard, ticks)
    seen = shard.experience()["generator"].observation[:, 0, -4:]
    sold, asked, paid, median = seen.T
    # Half of its capacity in the first tick, all of it in the second.
    np.testing.assert_allclose(sold, [0, 0.5, 1], atol=1e-6)
    # At the highest level wind asks for 0, which is 50 spreads below.
    np.testing.assert_allclose(asked, [0, -50 / 51, -50 / 51], atol=1e-6)
    # 160 for 8 MW over an hour, against the median and spread; known two ticks later.
    np.testing.assert_allclose(paid, [0, 0, 20 / (20 + 50 + 1)], atol=1e-6)
    # Of clearing prices: 50 of the known ones before there are any, then 40.
    np.testing.assert_allclose(median, [0, -10 / 11, -10 / 11], atol=1e-6)


def test_experience_is_handed_out_without_gaps() -> None:
    shard = learner("wind", [ASSETS["wind"]], {"generator": level(3)})
    found, accepted = [], NOTHING
    for at in range(12):
        paid = np.array([1_000_000 * at]) if at >= 2 else NOTHING
        reply = shard.step(signal(at, price_per_mwh=float(at)), accepted, paid)
        accepted = reply.orders.quantity
        found.append(shard.experience().get("generator"))
    # Settled two ticks after it was made.
    assert [None if part is None else part.tick.tolist() for part in found] == [
        None,
        None,
        *([tick] for tick in range(10)),
    ]
    parts = [part for part in found if part is not None]
    for one, after in itertools.pairwise(parts):
        np.testing.assert_array_equal(one.next_observation[-1], after.observation[0])
    # Money of tick t came with the step of t + 2: 1 is 8 MW for an hour at 50.
    rewards = [part.reward[0, 0] for part in parts]
    np.testing.assert_allclose(rewards, [(tick + 2) / 400 for tick in range(10)], rtol=1e-6)


@pytest.mark.parametrize("kind", ["storage", "ev"])
def test_noise_on_power_is_normal_and_its_density_is_kept(kind: str) -> None:
    policy = {"storage": always("storage", np.arctanh(0.25))}
    shard = learner(kind, [ASSETS[kind]] * 100, policy, Exploration(0.0, 0.0))
    live(shard, [Tick(40, [0.0] * 100) for _ in range(20)])
    found = shard.experience()["storage"]
    assert found.action.shape == (20, 100, 1)
    std = np.exp(-1.0)
    z = (found.action[..., 0] - 0.25) / std
    density = norm.logpdf(found.action[..., 0], 0.25, std)
    np.testing.assert_allclose(found.log_prob, density, atol=1e-4)
    # 2,000 draws: both within five standard errors.
    assert abs(z.mean()) < 5 / np.sqrt(2000)
    assert abs(z.std() - 1) < 5 / np.sqrt(4000)
    assert (np.abs(found.action) > 1).any(), "learning takes the action before the clip"


def test_a_generator_tries_every_level_as_often_as_it_is_told() -> None:
    shard = learner("wind", [ASSETS["wind"]] * 100, {"generator": level(3)}, Exploration(0.4, 0.0))
    live(shard, [Tick(40, [0.0] * 100) for _ in range(20)])
    action = shard.experience()["generator"].action
    assert action.dtype == np.int64
    count = np.bincount(action.ravel(), minlength=LEVELS)
    # Binomial: 0.4 / 20 each, and 0.6 more for the best; five standard deviations.
    expected = np.full(LEVELS, 0.02)
    expected[3] += 0.6
    assert (np.abs(count - 2000 * expected) < 5 * np.sqrt(2000 * expected * (1 - expected))).all()


def test_a_consumer_tries_shares_around_its_own() -> None:
    policy = {"consumer": always("consumer", 0.0)}
    shard = learner("consumer", [ASSETS["consumer"]] * 100, policy, Exploration(0.0, 0.1))
    live(shard, [Tick(40, [0.0] * 100) for _ in range(20)])
    share = shard.experience()["consumer"].action
    assert share.shape == (20, 100)
    assert abs(share.mean() - 0.5) < 5 * 0.1 / np.sqrt(2000)
    assert abs(share.std() - 0.1) < 5 * 0.1 / np.sqrt(4000)


@every_kind
def test_who_does_not_explore_writes_down_what_the_networks_say(kind: str) -> None:
    outputs = {"storage": np.arctanh(0.25), "consumer": 0.0}
    policy = {
        network: level(3) if network == "generator" else always(network, outputs[network])
        for network in drawn({kind: 1})[kind]
    }
    said = {"generator": 3, "storage": 0.25, "consumer": 0.5}
    ticks = [Tick(40, [0.0] * 2) for _ in range(3)]
    shard = learner(kind, [ASSETS[kind]] * 2, policy, GREEDY)
    live(shard, ticks)
    for network, found in shard.experience().items():
        np.testing.assert_allclose(found.action.astype(float), said[network], atol=1e-6)
        assert (found.log_prob == 0).all()
    silent = learner(kind, [ASSETS[kind]] * 2, policy, None)
    live(silent, ticks)
    assert silent.experience() == {}
