from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.learning import modqn, networks
from swarm.learning.choice import epsilon_greedy, pareto_set, preferences, scalarised, vector_values
from swarm.learning.networks import Attention, Spec
from tests.learning.same import State, assert_identical, assert_stacked

SMALL = Spec((8, 12, 5), attention=Attention(own=4, tokens=3, features=2, heads=1, width=4))
PREFERENCE = slice(1, 4)
"""Where `SMALL`'s observation has its three weights."""


def transitions(seed: int, agents: int, worlds: int = 4) -> State:
    """One random step of all agents in all worlds: three objectives, five actions."""
    draw = np.random.default_rng(seed)
    shape = (agents, worlds)
    given = {
        "observation": draw.normal(size=(*shape, 10)).astype(np.float32),
        "action": draw.integers(0, 5, size=shape),
        "reward": draw.normal(size=(*shape, 3)).astype(np.float32),
        "next_observation": draw.normal(size=(*shape, 10)).astype(np.float32),
        "terminated": draw.random(shape) < 0.3,
    }
    weight = preferences(draw.random((*shape, 3)))
    given["observation"][..., PREFERENCE] = weight
    given["next_observation"][..., PREFERENCE] = weight
    return given


def made(agents: int, first: int = 0, **more: Any) -> modqn.Learner:
    settings = {"replay": 50, "warmup": 8, "batch": 8, "target_every": 3, "preference_at": 1}
    return modqn.Learner(modqn.Settings(**settings | more), 5, agents, first, spec=SMALL)


def learn(learner: modqn.Learner, rows: slice, ticks: range) -> None:
    """Observe and update at each tick, from agents `rows` of seven."""
    for tick in ticks:
        learner.observe(**{name: array[rows] for name, array in transitions(tick, 7).items()})
        if learner.ready:
            learner.update(tick)


def test_covers_the_front_of_a_bandit_in_one_run() -> None:
    """Five arms: one is dominated, one on the front but inside its convex hull."""
    arms = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.5, 0.4], [0.35, 0.75]])
    assert pareto_set(arms).tolist() == [True, True, True, False, True]
    spec = Spec((2, 32, 5))
    settings = modqn.Settings(
        objectives=2, preference_at=0, discount=0.0, epsilon_ticks=200, learning_rate=0.003
    )
    learner = modqn.Learner(settings, 0, 1, spec=spec)
    draw = np.random.default_rng(0)
    for tick in range(400):
        preference = preferences(draw.random((1, 2)))
        values = scalarised(vector_values(spec, learner.weights(), preference), preference)
        arm = epsilon_greedy(values, settings.epsilon(tick), 0, "explore", tick, 0)
        seen = preference[:, None]
        reward = arms[arm][:, None].astype(np.float32)
        learner.observe(seen, arm[:, None], reward, seen, np.zeros((1, 1), dtype=np.bool_))
        if learner.ready:
            learner.update(tick)
    asked = np.linspace(0.0, 1.0, 101)
    chosen = []
    for weight in asked:
        preference = np.array([[weight, 1.0 - weight]], dtype=np.float32)
        values = vector_values(spec, learner.weights(), preference)
        chosen.append(int(scalarised(values, preference).argmax()))
    assert set(chosen) == {0, 1, 2}
    # Arm 2 is best below a weight of 1/3 on the first objective, arm 0 above 3/4.
    best = np.where(asked < 1 / 3, 2, np.where(asked < 3 / 4, 1, 0))
    clear = (np.abs(asked - 1 / 3) > 0.05) & (np.abs(asked - 3 / 4) > 0.05)
    assert np.array(chosen)[clear].tolist() == best[clear].tolist()


def test_walks_to_the_treasure_that_each_preference_asks_for() -> None:
    """Take the treasure here, or go on for 0.25 of the second objective to a larger one."""
    treasure = np.array([0.1, 0.7, 0.75, 1.0])
    places = len(treasure)
    spec = Spec((places + 2, 32, 2))
    settings = modqn.Settings(
        objectives=2,
        preference_at=places,
        discount=1.0,
        warmup=8,
        target_every=50,
        learning_rate=0.003,
    )
    learner = modqn.Learner(settings, 0, 1, spec=spec)
    place, action = (each.ravel() for each in np.indices((places, 2)))
    on = (action == 1) & (place < places - 1)
    one_hot = np.eye(places, dtype=np.float32)
    even = np.full((2 * places, 2), 0.5, dtype=np.float32)
    reward = np.stack([np.where(on, 0.0, treasure[place]), np.where(on, -0.25, 0.0)], axis=1)
    learner.observe(
        np.hstack([one_hot[place], even])[None],
        action[None],
        reward[None].astype(np.float32),
        np.hstack([one_hot[np.minimum(place + 1, places - 1)], even])[None],
        ~on[None],
    )
    for tick in range(1200):
        learner.update(tick)
    # Every policy by enumeration: stop after k steps.
    returns = np.stack([treasure, -0.25 * np.arange(places)], axis=1)
    # The best place is 0 below a weight of 0.29 on the first objective, 3 above 0.63, else 1.
    for weight in (0.05, 0.15, 0.45, 0.8, 0.95):
        preference = np.array([weight, 1.0 - weight], dtype=np.float32)
        at, total = 0, np.zeros(2)
        while True:
            seen = np.concatenate([one_hot[at], preference])[None]
            values = vector_values(spec, learner.weights(), seen)
            move = int(scalarised(values, preference[None]).argmax())
            if move == 0 or at == places - 1:
                break
            total, at = total + np.array([0.0, -0.25]), at + 1
        best = (returns @ preference).max()
        assert (total + np.array([treasure[at], 0.0])) @ preference == pytest.approx(best, abs=0.02)


@pytest.mark.parametrize("terminated", [False, True])
def test_targets_are_vectors_at_the_action_the_preference_picks(terminated: bool) -> None:
    learner = made(1, discount=0.5, warmup=1, other_preferences=False)
    one = transitions(4, 1, worlds=1) | {"terminated": np.array([[terminated]])}
    learner.observe(**one)
    online, target = (networks.init(SMALL, seed, 0, 3) for seed in (1, 4))
    state = learner.state()
    state |= {f"online.{name}": array for name, array in online.items()}
    state |= {f"target.{name}": array for name, array in target.items()}
    learner.load(state)

    following = one["next_observation"][0]
    weight = following[0, PREFERENCE].astype(np.float64)
    picked = (weight @ vector_values(SMALL, online, following)[0]).argmax()
    values = vector_values(SMALL, target, following)[0]
    assert picked != (weight @ values).argmax()
    wanted = one["reward"][0, 0] + (0.0 if terminated else 0.5 * values[:, picked])
    had = vector_values(SMALL, online, one["observation"][0])[0, :, one["action"][0, 0]]
    np.testing.assert_allclose(learner.update(0)["loss"][0], (wanted - had) ** 2, rtol=1e-4)


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
    straight, before, resumed = made(7), made(7), made(7)
    learn(straight, slice(None), range(20))
    learn(before, slice(None), range(10))
    resumed.load(before.state())
    learn(resumed, slice(None), range(10, 20))
    assert_identical(straight.state(), resumed.state())


def test_adopts_weights_for_what_it_does_and_what_it_learns_from() -> None:
    taught, other = made(2), made(2)
    learn(taught, slice(0, 2), range(6))
    other.adopt(taught.weights())
    state = other.state()
    for name, array in taught.weights().items():
        np.testing.assert_array_equal(state[f"online.{name}"], array)
        np.testing.assert_array_equal(state[f"target.{name}"], array)


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_acting_has_the_same_bytes_for_any_split(cut: int) -> None:
    weights = networks.init(networks.OPERATOR, 0, 0, 7 * 3)
    seen = np.random.default_rng(0).normal(size=(7, 80)).astype(np.float32)
    whole = vector_values(networks.OPERATOR, weights, seen)
    assert whole.shape == (7, 3, 25)
    low = {name: array[: 3 * cut] for name, array in weights.items()}
    high = {name: array[3 * cut :] for name, array in weights.items()}
    parts = [
        vector_values(networks.OPERATOR, low, seen[:cut]),
        vector_values(networks.OPERATOR, high, seen[cut:]),
    ]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_refuses_a_preference_outside_the_observation() -> None:
    with pytest.raises(UsageError, match="preference_at is 8; expected at most 7"):
        made(1, preference_at=8)


def test_refuses_to_update_before_the_warmup() -> None:
    learner = made(7)
    learner.observe(**transitions(0, 7))
    with pytest.raises(UsageError, match="needs 8 observed"):
        learner.update(0)


def test_refuses_an_action_that_is_none() -> None:
    with pytest.raises(UsageError, match="action is 5"):
        made(7).observe(**(transitions(0, 7) | {"action": np.full((7, 4), 5)}))
