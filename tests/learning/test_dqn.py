from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.learning import dqn, networks
from swarm.learning.choice import epsilon_greedy
from swarm.learning.networks import Spec
from tests.learning.same import State, assert_identical, assert_stacked
from tests.learning.toys import (
    Auction,
    Cournot,
    Game,
    at_two_levels,
    equilibrium_prices,
    learned_prices,
    multisets,
)

SMALL = Spec((3, 16, 5))


def transitions(seed: int, agents: int, worlds: int = 4) -> State:
    """One random step of all agents in all worlds: three observations, five actions."""
    draw = np.random.default_rng(seed)
    shape = (agents, worlds)
    return {
        "observation": draw.normal(size=(*shape, 3)).astype(np.float32),
        "action": draw.integers(0, 5, size=shape),
        "reward": draw.normal(size=shape).astype(np.float32),
        "next_observation": draw.normal(size=(*shape, 3)).astype(np.float32),
        "terminated": draw.random(shape) < 0.3,
    }


def made(agents: int, first: int = 0, **more: Any) -> dqn.Learner:
    settings = dqn.Settings(**{"replay": 50, "warmup": 8, "batch": 8, "target_every": 3} | more)
    return dqn.Learner(settings, 5, agents, first, spec=SMALL)


def learn(learner: dqn.Learner, rows: slice, ticks: range) -> None:
    """Observe and update at each tick, from agents `rows` of seven."""
    for tick in ticks:
        learner.observe(**{name: array[rows] for name, array in transitions(tick, 7).items()})
        if learner.ready:
            learner.update(tick)


def test_finds_the_best_arm_of_noisy_bandits() -> None:
    agents, arms = 8, 20
    spec = Spec((1, 32, arms))
    # The mean of an arm falls by 0.2 for each place it is away from the agent's best.
    best = np.arange(agents) * 2 + 2
    mean = 1.0 - 0.2 * np.abs(np.arange(arms) - best[:, None])
    settings = dqn.Settings(discount=0.0, epsilon_ticks=300, learning_rate=0.003)
    learner = dqn.Learner(settings, 0, agents, spec=spec)
    noise = np.random.default_rng(1)
    seen = np.ones((agents, 1), dtype=np.float32)
    for tick in range(500):
        values = networks.forward(spec, learner.weights(), seen)
        arm = epsilon_greedy(values, settings.epsilon(tick), 0, "explore", tick, 0)
        reward = mean[np.arange(agents), arm] + noise.normal(0.0, 0.2, agents)
        learner.observe(
            seen[:, None],
            arm[:, None],
            reward[:, None].astype(np.float32),
            seen[:, None],
            np.zeros((agents, 1), dtype=np.bool_),
        )
        if learner.ready:
            learner.update(tick)
    values = networks.forward(spec, learner.weights(), seen)
    assert (np.abs(values.argmax(axis=1) - best) <= 1).all()
    np.testing.assert_allclose(values.max(axis=1), 1.0, atol=0.2)


def test_learns_the_exact_values_of_a_chain() -> None:
    """Left pays 0.08 at the left end; right pays 1 at the right end, where the episode is over."""
    states, discount = 5, 0.9
    state, action = (each.ravel() for each in np.indices((states, 2)))
    following = np.clip(state + 2 * action - 1, 0, states - 1)
    reward = 0.08 * ((state == 0) & (action == 0)) + 1.0 * ((state == states - 1) & (action == 1))
    over = (state == states - 1) & (action == 1)
    exact = np.zeros((states, 2))
    for _ in range(300):
        exact = (reward + discount * ~over * exact.max(axis=1)[following]).reshape(states, 2)
    # Staying at the left end is worth 0.08 / (1 - 0.9), the way right 0.9^4 from there.
    np.testing.assert_allclose(exact.max(axis=1), [0.8, 0.9**3, 0.9**2, 0.9, 1.0])
    assert exact.argmax(axis=1).tolist() == [0, 1, 1, 1, 1]

    agents, spec = 3, Spec((states, 32, 2))
    settings = dqn.Settings(discount=discount, warmup=10, target_every=50, learning_rate=0.003)
    learner = dqn.Learner(settings, 0, agents, spec=spec)
    one_hot = np.eye(states, dtype=np.float32)

    def of_all(rows: Any) -> Any:
        return np.repeat(rows[None], agents, axis=0)

    learner.observe(
        of_all(one_hot[state]),
        of_all(action),
        of_all(reward.astype(np.float32)),
        of_all(one_hot[following]),
        of_all(over),
    )
    for tick in range(1500):
        learner.update(tick)
    for each in range(states):
        values = networks.forward(spec, learner.weights(), of_all(one_hot[each]))
        np.testing.assert_allclose(values, of_all(exact[each]), atol=0.03)


@pytest.mark.parametrize("terminated", [False, True])
def test_the_target_network_values_what_the_learning_network_picks(terminated: bool) -> None:
    learner = made(1, discount=0.5, warmup=1)
    one = transitions(0, 1, worlds=1) | {"terminated": np.array([[terminated]])}
    learner.observe(**one)
    online, target = (networks.init(SMALL, seed, 0, 1) for seed in (1, 4))
    state = learner.state()
    state |= {f"online.{name}": array for name, array in online.items()}
    state |= {f"target.{name}": array for name, array in target.items()}
    learner.load(state)

    following = one["next_observation"][0]
    picked = networks.forward(SMALL, online, following)[0].argmax()
    values = networks.forward(SMALL, target, following)[0]
    assert picked != values.argmax()
    wanted = one["reward"][0, 0] + (0.0 if terminated else 0.5 * values[picked])
    had = networks.forward(SMALL, online, one["observation"][0])[0, one["action"][0, 0]]
    assert learner.update(0)["loss"][0] == pytest.approx((wanted - had) ** 2, rel=1e-5)


def test_the_target_network_follows_at_its_interval() -> None:
    learner = made(2)
    learner.observe(**transitions(0, 2))
    learner.observe(**transitions(1, 2))
    first = learner.state()
    same = []
    for tick in range(6):
        learner.update(tick)
        now = learner.state()
        same.append(
            [
                np.array_equal(now["target.layer0.weight"], other["layer0.weight"])
                for other in (learner.weights(), {"layer0.weight": first["target.layer0.weight"]})
            ]
        )
    assert same == [[False, True]] * 2 + [[True, False]] + [[False, False]] * 2 + [[True, False]]


def test_a_stack_of_seven_learns_as_seven_alone() -> None:
    whole = made(7)
    learn(whole, slice(None), range(12))
    alone = []
    for agent in range(7):
        learner = made(1, first=agent)
        learn(learner, slice(agent, agent + 1), range(12))
        alone.append(learner.state())
    assert_stacked(whole.state(), alone)


def test_goes_on_from_its_state_to_the_same_bytes() -> None:
    straight, resumed = made(7), made(7)
    learn(straight, slice(None), range(20))
    before = made(7)
    learn(before, slice(None), range(10))
    resumed.load(before.state())
    learn(resumed, slice(None), range(10, 20))
    assert_identical(straight.state(), resumed.state())


def test_sharing_agents_learn_as_one_agent_with_all_their_transitions() -> None:
    settings = dqn.Settings(replay=50, warmup=8, batch=8)
    shared = dqn.Learner(settings, 5, 7, first=3, shared=True, spec=SMALL)
    single = dqn.Learner(settings, 5, 1, spec=SMALL)
    given = transitions(0, 7)
    shared.observe(**given)
    single.observe(**{name: row.reshape(1, 28, *row.shape[2:]) for name, row in given.items()})
    assert shared.update(0)["loss"].shape == (1,)
    single.update(0)
    assert_identical(shared.state(), single.state())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"action": np.full((7, 4), 5)}, "action is 5; expected 0 to 4"),
        ({"action": np.full((7, 4), -1)}, "action is -1"),
        ({"reward": np.full((7, 4), np.nan, dtype=np.float32)}, "reward"),
        ({"reward": np.zeros((7, 3), dtype=np.float32)}, "reward"),
    ],
)
def test_refuses_what_is_no_transition(change: State, named: str) -> None:
    learner = made(7)
    with pytest.raises(UsageError, match=named):
        learner.observe(**(transitions(0, 7) | change))
    assert not learner.ready


def test_refuses_to_update_before_the_warmup() -> None:
    learner = made(7)
    learner.observe(**transitions(0, 7))
    with pytest.raises(UsageError, match="needs 8 observed"):
        learner.update(0)


def test_a_replay_states_its_memory() -> None:
    # Two observations of 3 float32, an int64 action, a float32 reward, one byte of terminated.
    assert made(7).replay_bytes == 7 * 50 * (2 * 3 * 4 + 8 + 4 + 1)


TWO_COSTS = (10.0, 20.0)


@pytest.mark.parametrize(
    ("game", "profiles", "prices"),
    [
        (Auction(TWO_COSTS, 80.0), None, [15.0, 20.0]),
        (Auction(TWO_COSTS, 150.0), None, [100.0]),
        (Auction((20.0,) * 10, 300.0), at_two_levels, [20.0, 25.0]),
        (Cournot(2), multisets, [40.0]),
        (Cournot(3), multisets, [32.5]),
        (Cournot(5), multisets, [25.0]),
    ],
)
def test_the_equilibria_of_the_toys_are_the_known_ones(
    game: Game, profiles: Callable[[Game], Any] | None, prices: list[float]
) -> None:
    assert equilibrium_prices(game, profiles and profiles(game)).tolist() == prices


BIDDER = {"discount": 0.0, "batch": 64, "replay": 4000, "epsilon_end": 0.0}
"""Bidders that see the next interval alone. Exploration must end: while a rival explores, a firm
that earns nothing at the equilibrium gains by asking for more, and prices cycle."""


@pytest.mark.parametrize(("demand_mw", "price"), [(80.0, 20.0), (150.0, 100.0)])
def test_two_firms_learn_the_equilibrium_of_the_auction(demand_mw: float, price: float) -> None:
    settings = dqn.Settings(**BIDDER, epsilon_ticks=1200)
    prices = learned_prices(
        Auction(TWO_COSTS, demand_mw), 10, settings, reward_unit=400.0, rounds=2000
    )
    # A level is 5 $/MWh.
    assert np.median(np.abs(prices - price)) <= 5.0
    assert (np.abs(prices - price) <= 5.0).mean() >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("demand_mw", [80.0, 150.0])
def test_most_pairs_of_firms_learn_the_equilibrium(demand_mw: float) -> None:
    game = Auction(TWO_COSTS, demand_mw)
    settings = dqn.Settings(**BIDDER, epsilon_ticks=1800)
    prices = learned_prices(game, 40, settings, reward_unit=400.0)
    off = np.abs(prices[:, None] - equilibrium_prices(game)).min(axis=1)
    assert (off <= 5.0).mean() >= 0.9


@pytest.mark.slow
def test_ten_firms_with_ample_capacity_learn_to_ask_for_their_cost() -> None:
    settings = dqn.Settings(**BIDDER, epsilon_ticks=1800)
    prices = learned_prices(Auction((20.0,) * 10, 300.0), 20, settings, reward_unit=60.0)
    assert (np.abs(prices - 20.0) <= 5.0).mean() >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("firms", "price"), [(2, 40.0), (3, 32.5), (5, 25.0)])
def test_the_median_of_cournot_games_is_near_the_equilibrium(firms: int, price: float) -> None:
    """Single games spread further, as profits are flat around the best reply."""
    settings = dqn.Settings(**BIDDER | {"replay": 10_000}, epsilon_ticks=3600)
    prices = learned_prices(Cournot(firms), 20, settings, reward_unit=300.0, rounds=6000)
    assert abs(np.median(prices) - price) <= 3.0
