from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are
from scipy.stats import norm

from swarm.errors import UsageError
from swarm.learning import actor_critic, gaussian, networks
from swarm.learning.networks import Spec
from swarm.learning.rollout import Rollout, advantages, standardised
from tests.learning.same import State, assert_identical, assert_stacked

ACTOR = Spec((3, 8, 1), out="tanh")
CRITIC = Spec((3, 8, 1))


def transitions(seed: int, agents: int, worlds: int) -> State:
    """One random step of all agents in all worlds, three observations, one action."""
    draw = np.random.default_rng(seed)
    shape = (agents, worlds)
    return {
        "observation": draw.normal(size=(*shape, 3)).astype(np.float32),
        "raw": draw.normal(size=(*shape, 1)).astype(np.float32),
        "reward": draw.normal(size=shape).astype(np.float32),
        "next_observation": draw.normal(size=(*shape, 3)).astype(np.float32),
        "terminated": draw.random(shape) < 0.1,
        "cut": draw.random(shape) < 0.1,
    }


def learn(learner: actor_critic.Learner, rows: slice, updates: range, agents: int = 7) -> None:
    for update in updates:
        step = 0
        while not learner.ready:
            given = transitions(100 * update + step, agents, 2)
            learner.observe(**{name: array[rows] for name, array in given.items()})
            step += 1
        learner.update(update)


def test_learns_the_gain_of_a_linear_quadratic_regulator() -> None:
    a, b, state_cost, control_cost, discount = 1.0, 0.5, 1.0, 0.5, 0.9
    root = discount**0.5  # a discounted problem is an undiscounted one with scaled dynamics
    p = solve_discrete_are(
        *(np.array([[x]]) for x in (a * root, b * root, state_cost, control_cost))
    ).item()
    gain = discount * a * b * p / (control_cost + discount * b * b * p)

    n, episode = 128, 8
    actor = Spec((1, 16, 1), activation="tanh", out="tanh")
    settings = actor_critic.Settings(
        learning_rate=0.005, critic_learning_rate=0.01, steps=16, discount=discount
    )
    learner = actor_critic.Learner(
        settings, 0, n, shared=True, actor=actor, critic=Spec((1, 32, 1))
    )
    draw = np.random.default_rng(0)
    x = draw.uniform(-0.8, 0.8, n)
    for tick in range(150 * settings.steps):
        noise = gaussian.normals(0, "explore", tick, 0, n, 1)
        seen = x[:, None].astype(np.float32)
        acted = gaussian.act(actor, learner.weights(), seen, noise)
        u = acted.action[:, 0]
        following = a * x + b * u
        reward = -(state_cost * x * x + control_cost * u * u)
        last = (tick + 1) % episode == 0
        learner.observe(
            seen[:, None],
            acted.raw[:, None],
            reward[:, None].astype(np.float32),
            following[:, None, None].astype(np.float32),
            np.zeros((n, 1), dtype=bool),
            np.full((n, 1), last),
        )
        x = draw.uniform(-0.8, 0.8, n) if last else following
        if learner.ready:
            learner.update(tick)

    points = np.linspace(-0.7, 0.7, 15, dtype=np.float32)[:, None]
    mean = gaussian.act(actor, learner.weights(), points).action
    slope = -float((mean * points).sum() / (points * points).sum())
    assert slope == pytest.approx(gain, rel=0.1)
    assert np.abs(mean + gain * points).max() < 0.1


def test_a_stack_of_seven_learns_as_seven_alone() -> None:
    settings = actor_critic.Settings(steps=4, learning_rate=0.01)
    whole = actor_critic.Learner(settings, 5, 7, worlds=2, actor=ACTOR, critic=CRITIC)
    learn(whole, slice(0, 7), range(5))
    single = []
    for i in range(7):
        alone = actor_critic.Learner(settings, 5, 1, i, worlds=2, actor=ACTOR, critic=CRITIC)
        learn(alone, slice(i, i + 1), range(5))
        single.append(alone.state())
    assert_stacked(whole.state(), single)


def test_goes_on_from_its_state_to_the_same_bytes() -> None:
    settings = actor_critic.Settings(steps=4)
    first = actor_critic.Learner(settings, 5, 7, worlds=2, actor=ACTOR, critic=CRITIC)
    learn(first, slice(0, 7), range(3))
    first.observe(**transitions(1, 7, 2))
    second = actor_critic.Learner(settings, 6, 7, worlds=2, actor=ACTOR, critic=CRITIC)
    second.load(first.state())
    for learner in (first, second):
        learn(learner, slice(0, 7), range(3, 6))
    assert_identical(first.state(), second.state())


def test_a_state_that_does_not_fit_is_refused() -> None:
    settings = actor_critic.Settings(steps=4)
    state = actor_critic.Learner(settings, 0, 2, actor=ACTOR, critic=CRITIC).state()
    other = actor_critic.Learner(settings, 0, 3, actor=ACTOR, critic=CRITIC)
    with pytest.raises(UsageError, match=r"layer0.weight is \(2, 3, 8\); expected .*\(3, 3, 8\)"):
        other.load(state)


def test_sharing_agents_are_one_stack_of_all_their_transitions() -> None:
    settings = actor_critic.Settings(steps=4)
    shared = actor_critic.Learner(settings, 5, 7, worlds=2, shared=True, actor=ACTOR, critic=CRITIC)
    single = actor_critic.Learner(settings, 5, 1, worlds=14, actor=ACTOR, critic=CRITIC)
    for step in range(4):
        given = transitions(step, 7, 2)
        shared.observe(**given)
        single.observe(**{k: v.reshape(1, 14, *v.shape[2:]) for k, v in given.items()})
    shared.update(0)
    single.update(0)
    assert_identical(shared.state(), single.state())


def test_acting_has_the_same_bytes_for_any_split() -> None:
    n = 65
    weights = networks.init(networks.STORAGE_ACTOR, 3, 0, n)
    weights["log_std"] = np.linspace(-3, 0, n, dtype=np.float32)[:, None]
    x = np.random.default_rng(0).normal(size=(n, 48)).astype(np.float32)

    def acted(first: int, last: int) -> gaussian.Action:
        noise = gaussian.normals(9, "explore", 4, first, last - first, 1)
        held = {name: array[first:last] for name, array in weights.items()}
        return gaussian.act(networks.STORAGE_ACTOR, held, x[first:last], noise)

    whole = acted(0, n)
    cuts = [0, 1, 7, 32, 33, 64, n]
    split = [acted(i, j) for i, j in pairwise(cuts)]
    for name in ("action", "raw", "log_prob"):
        joined = np.concatenate([getattr(part, name) for part in split])
        assert joined.tobytes() == getattr(whole, name).tobytes()


def test_noise_is_standard_normal_for_any_split() -> None:
    whole = gaussian.normals(1, "explore", 7, 0, 5000, 6)
    parts = [gaussian.normals(1, "explore", 7, i, 1250, 6) for i in range(0, 5000, 1250)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    # Kolmogorov-Smirnov distance of 30,000 draws: 0.0094 at 1 %.
    ranked = norm.cdf(np.sort(whole, axis=None))
    assert np.abs(ranked - (np.arange(30_000) + 0.5) / 30_000).max() < 0.0094
    assert np.abs(np.corrcoef(whole.T) - np.eye(6)).max() < 0.06


def test_what_leaves_is_clipped_and_what_is_learnt_from_is_not() -> None:
    weights = networks.init(ACTOR, 0, 0, 1)
    weights["log_std"] = np.log([[0.5]]).astype(np.float32)
    x = np.zeros((3, 3), dtype=np.float32)  # biases are zero, so the mean is zero
    noise = np.array([[-3.0], [0.4], [5.0]])
    acted = gaussian.act(ACTOR, weights, x, noise)
    np.testing.assert_allclose(acted.raw[:, 0], [-1.5, 0.2, 2.5], rtol=1e-6)
    np.testing.assert_allclose(acted.action[:, 0], [-1, 0.2, 1], rtol=1e-6)
    np.testing.assert_allclose(acted.log_prob, norm.logpdf([-1.5, 0.2, 2.5], 0, 0.5), rtol=1e-6)
    assert (gaussian.act(ACTOR, weights, x).action == 0).all()


@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0])
def test_advantages_are_the_weighted_mean_of_longer_and_longer_returns(trace: float) -> None:
    steps, discount = 6, 0.9
    draw = np.random.default_rng(2)
    reward, value, following = draw.normal(size=(3, 2, steps, 3)).astype(np.float32)
    terminated = draw.random((2, steps, 3)) < 0.2
    cut = draw.random((2, steps, 3)) < 0.2
    # What follows a step is what the next one sees, unless the episode stopped.
    ended = terminated | cut
    value[:, 1:] = np.where(ended[:, :-1], value[:, 1:], following[:, :-1])
    found = advantages(reward, value, following, terminated, cut, discount, trace)
    for i, t, j in np.ndindex(found.shape):
        last = next((k for k in range(t, steps) if ended[i, k, j]), steps - 1)
        longer = []  # advantages by the returns of 1, 2, ... steps
        for k in range(t, last + 1):
            rewards = sum(discount ** (m - t) * reward[i, m, j] for m in range(t, k + 1))
            after = 0.0 if terminated[i, k, j] else following[i, k, j]
            longer.append(rewards + discount ** (k + 1 - t) * after - value[i, t, j])
        shares = [(1 - trace) * trace**k for k in range(last - t)] + [trace ** (last - t)]
        assert found[i, t, j] == pytest.approx(np.dot(shares, longer), abs=1e-5)


def test_advantages_are_standardised_for_each_agent_alone() -> None:
    rows = np.array([[1.0, 2, 3], [100, 300, 500], [7, 7, 7]], dtype=np.float32)
    root = 1.5**0.5
    expected = [[-root, 0, root], [-root, 0, root], [0, 0, 0]]
    np.testing.assert_allclose(standardised(rows), expected, atol=1e-6)


def test_exploration_never_falls_below_its_floor() -> None:
    settings = actor_critic.Settings(steps=4, learning_rate=0.5, std_least=0.2, std_most=0.6)
    learner = actor_critic.Learner(settings, 0, 7, worlds=2, actor=ACTOR, critic=CRITIC)
    seen = []
    for update in range(8):
        learn(learner, slice(0, 7), range(update, update + 1))
        seen.append(np.exp(learner.weights()["log_std"]))
    assert np.min(seen) == pytest.approx(0.2)
    assert np.max(seen) == pytest.approx(0.6)


def test_refuses_what_it_cannot_learn_from() -> None:
    settings = actor_critic.Settings(steps=2)
    learner = actor_critic.Learner(settings, 0, 2, actor=ACTOR, critic=CRITIC)
    good = transitions(0, 2, 1)
    with pytest.raises(UsageError, match="needs 2 observed steps"):
        learner.update(0)
    with pytest.raises(UsageError, match=r"reward is \(2,\); expected \(2, 1\)"):
        learner.observe(**{**good, "reward": good["reward"][:, 0]})
    with pytest.raises(UsageError, match="reward holds a number that is not finite"):
        learner.observe(**{**good, "reward": good["reward"] * np.float32("nan")})
    learner.observe(**good)
    learner.observe(**good)
    with pytest.raises(UsageError, match="already holds its 2 steps"):
        learner.observe(**good)
    with pytest.raises(ValueError, match="discount"):
        actor_critic.Settings(discount=1.1)


def test_a_rollout_states_its_memory() -> None:
    # 5 agents, 8 steps, 2 worlds: 2 x 3 observations, 1 action, 1 reward of 4 bytes and 2 flags.
    assert Rollout(5, 8, 2, 3, 1).bytes == 5 * 8 * 2 * ((2 * 3 + 1 + 1) * 4 + 2)
