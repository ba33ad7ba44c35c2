from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from swarm.errors import UsageError
from swarm.learning import gaussian, maddpg, networks, stacked
from swarm.learning.networks import Attention, Spec
from tests.learning.same import State, assert_identical, assert_stacked

ACTOR = Spec((2, 16, 1), out="tanh")
UNEVEN = np.repeat(np.arange(7), [3, 1, 2, 3, 2, 1, 3])


def critic(others: int) -> Spec:
    attention = Attention(own=3, tokens=others, features=3, heads=2, width=4)
    return Spec((attention.outputs, 32, 16, 1), attention=attention)


def transitions(seed: int, agents: int, worlds: int) -> State:
    """One random step of all agents in all worlds, two observations."""
    draw = np.random.default_rng(seed)
    shape = (agents, worlds)
    return {
        "observation": draw.normal(size=(*shape, 2)).astype(np.float32),
        "action": draw.random(shape).astype(np.float32),
        "reward": draw.normal(size=shape).astype(np.float32),
        "next_observation": draw.normal(size=(*shape, 2)).astype(np.float32),
        "terminated": draw.random(shape) < 0.1,
    }


def learner(
    settings: maddpg.Settings,
    neighbourhood: np.ndarray,
    first: int = 0,
    members: int | None = None,
    shared: bool = False,
    seed: int = 5,
) -> maddpg.Learner:
    return maddpg.Learner(settings, seed, neighbourhood, first, members, shared, ACTOR, critic)


def learn(learning: maddpg.Learner, rows: slice, updates: range) -> None:
    for update in updates:
        given = transitions(update, len(UNEVEN), 4)
        learning.observe(**{name: array[rows] for name, array in given.items()})
        learning.update(update)


def cooperate(neighbourhood: np.ndarray, shared: bool = False) -> np.ndarray:
    """Actions learnt by pairs (0, 1), (2, 3), ... from 4,000 joint actions drawn uniformly.

    Both get a + b - 4 (a - b)^2. Together the best is 1, 1 with reward 2. Against a partner that is
    uniform, the expected reward is best at 1/2 + 1/8.
    """
    agents, seen = len(neighbourhood), 4000
    settings = maddpg.Settings(
        learning_rate=0.003, critic_learning_rate=0.005, batch=64, discount=0.0, gradient_limit=5.0
    )
    learning = learner(settings, neighbourhood, members=2, shared=shared, seed=0)
    action = np.random.default_rng(0).random((agents, seen)).astype(np.float32)
    a, b = action[0::2], action[1::2]
    reward = np.repeat(a + b - 4 * (a - b) ** 2, 2, axis=0)
    observation = np.ones((agents, seen, 2), dtype=np.float32)
    learning.observe(observation, action, reward, observation, np.ones((agents, seen), dtype=bool))
    late = []
    for update in range(400):
        learning.update(update)
        if update >= 300:
            late.append(gaussian.share(ACTOR, learning.weights(), observation[:, 0]))
    return np.mean(late, axis=0)


def test_the_joint_critic_finds_what_independent_learners_miss() -> None:
    joint = cooperate(np.repeat(np.arange(4), 2))
    alone = cooperate(np.arange(8))
    assert joint.min() > 0.9
    assert alone.max() < 0.85
    assert alone.mean() == pytest.approx(0.625, abs=0.1)


def test_one_shared_policy_finds_it_too() -> None:
    assert cooperate(np.repeat(np.arange(2), 2), shared=True).min() > 0.9


def test_values_are_discounted_rewards() -> None:
    """Reward 1 for ever at discount 1/2 is worth 2; where the episode ends, 1."""
    # Actors that hardly move: else they look for where the critic errs upwards.
    settings = maddpg.Settings(
        discount=0.5,
        learning_rate=1e-6,
        critic_learning_rate=0.005,
        target_rate=0.1,
        gradient_limit=5.0,
    )
    learning = learner(settings, np.array([0, 0, 1, 1]))
    shape = (4, 64)
    given = transitions(0, *shape) | {"reward": np.ones(shape, dtype=np.float32)}
    given["terminated"] = np.repeat([[False], [False], [True], [True]], 64, axis=1)
    learning.observe(**given)
    values = [learning.update(update)["value"] for update in range(300)]
    np.testing.assert_allclose(np.mean(values[-50:], axis=0), [2, 2, 1, 1], atol=0.1)


@pytest.mark.parametrize("absent", [(), (1,), (0, 1, 2)])
def test_gradients_of_the_attention_critic_match_finite_differences(absent: tuple[int]) -> None:
    spec = networks.consumer_critic(3)
    stacks, batch, h = 2, 3, 1e-6
    draw = np.random.default_rng(0)
    tensors = {
        name: torch.from_numpy(array.astype(np.float64)).requires_grad_()
        for name, array in networks.init(spec, 0, 0, stacks).items()
    }
    x = torch.from_numpy(draw.normal(size=(stacks, batch, spec.inputs))).requires_grad_()
    present = torch.ones((stacks, batch, 3), dtype=torch.bool)
    present[:, :, list(absent)] = False
    toward = torch.from_numpy(draw.normal(size=(stacks, batch)))

    def loss() -> torch.Tensor:
        return (stacked.forward(spec, tensors, x, present)[..., 0] * toward).sum()

    leaves = tensors | {"input": x}
    grads = stacked.gradients(loss(), leaves)
    largest = 0.0
    for name, leaf in leaves.items():
        flat, slope = leaf.detach().reshape(-1), grads[name].reshape(-1)
        for i in draw.choice(len(flat), min(25, len(flat)), replace=False):
            kept = flat[i].item()
            flat[i] = kept + h
            above = loss().item()
            flat[i] = kept - h
            below = loss().item()
            flat[i] = kept
            assert slope[i].item() == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-8)
            if name.startswith("attention"):
                largest = max(largest, abs(slope[i].item()))
    # With nobody to attend to, attention has no part in the value.
    assert (largest == 0) == (len(absent) == 3)


def test_a_stack_of_seven_neighbourhoods_learns_as_seven_alone() -> None:
    settings = maddpg.Settings(warmup=4, target_rate=0.1, replay=16)
    whole = learner(settings, UNEVEN, first=2)
    learn(whole, slice(None), range(5))
    single = []
    for group in range(7):
        rows = np.flatnonzero(group == UNEVEN)
        alone = learner(settings, UNEVEN[rows], first=2 + int(rows[0]), members=3)
        learn(alone, slice(rows[0], rows[-1] + 1), range(5))
        single.append(alone.state())
    assert_stacked(whole.state(), single)


def test_empty_places_change_nothing() -> None:
    settings = maddpg.Settings(warmup=4)
    found = []
    for members in (3, 5):
        learning = learner(settings, UNEVEN, members=members)
        learn(learning, slice(None), range(5))
        state = learning.state()
        found.append({k: v for k, v in state.items() if not k.startswith("replay")})
    for name, array in found[0].items():
        np.testing.assert_allclose(array, found[1][name], rtol=0, atol=1e-6, err_msg=name)


def test_goes_on_from_its_state_to_the_same_bytes() -> None:
    settings = maddpg.Settings(warmup=4, replay=10)
    first = learner(settings, UNEVEN)
    learn(first, slice(None), range(3))
    second = learner(settings, UNEVEN)
    second.load(first.state())
    for learning in (first, second):
        learn(learning, slice(None), range(3, 6))
    assert_identical(first.state(), second.state())


def test_acting_has_the_same_bytes_for_any_split_and_stays_in_range() -> None:
    n = 65
    weights = networks.init(networks.CONSUMER_ACTOR, 3, 0, n)
    x = np.random.default_rng(0).normal(size=(n, 40)).astype(np.float32)

    def acted(first: int, last: int) -> np.ndarray:
        noise = gaussian.normals(9, "explore", 4, first, last - first, 1)
        held = {name: array[first:last] for name, array in weights.items()}
        return gaussian.share(networks.CONSUMER_ACTOR, held, x[first:last], 0.5, noise)

    whole = acted(0, n)
    split = [acted(i, j) for i, j in pairwise([0, 1, 7, 32, 33, 64, n])]
    assert np.concatenate(split).tobytes() == whole.tobytes()
    assert whole.min() == 0
    assert whole.max() == 1


def test_a_replay_states_its_memory() -> None:
    # 7 neighbourhoods of 3 places, 10 transitions: 2 x 2 observations, action, reward, 1 flag.
    learning = learner(maddpg.Settings(replay=10), UNEVEN)
    assert learning.bytes == 7 * 10 * 3 * ((2 * 2 + 1 + 1) * 4 + 1)


def test_noise_falls_in_a_straight_line() -> None:
    settings = maddpg.Settings(noise_start=0.4, noise_end=0.1, noise_ticks=100)
    assert [settings.noise(tick) for tick in (0, 50, 100, 500)] == pytest.approx(
        [0.4, 0.25, 0.1, 0.1]
    )


def test_refuses_what_it_cannot_learn_from() -> None:
    learning = learner(maddpg.Settings(), UNEVEN)
    good = transitions(0, len(UNEVEN), 2)
    with pytest.raises(UsageError, match="needs 32 transitions"):
        learning.update(0)
    with pytest.raises(UsageError, match=r"action is \(15,\); expected \(15, 2\)"):
        learning.observe(**{**good, "action": good["action"][:, 0]})
    with pytest.raises(UsageError, match="observation holds a number that is not finite"):
        learning.observe(**{**good, "observation": good["observation"] * np.float32("inf")})
    with pytest.raises(UsageError, match="grow by 0 or 1"):
        learner(maddpg.Settings(), np.array([0, 2]))
    with pytest.raises(UsageError, match="members is 2; expected at least 2 and the 3"):
        learner(maddpg.Settings(), UNEVEN, members=2)
