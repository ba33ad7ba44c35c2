from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from swarm.errors import UsageError
from swarm.learning import gaussian, ppo
from swarm.learning.networks import Spec
from tests.learning.same import State, assert_identical, assert_stacked

Reward = Callable[[np.ndarray], np.ndarray]
ACTOR, CRITIC = gaussian.node_networks(3, 1)


def transitions(seed: int, agents: int, worlds: int) -> State:
    """One random step of all agents in all worlds, three observations, two actions."""
    draw = np.random.default_rng(seed)
    shape = (agents, worlds)
    return {
        "observation": draw.normal(size=(*shape, 3)).astype(np.float32),
        "raw": draw.normal(scale=0.5, size=(*shape, 2)).astype(np.float32),
        "log_prob": draw.normal(-1.0, 0.3, size=shape).astype(np.float32),
        "reward": draw.normal(size=shape).astype(np.float32),
        "next_observation": draw.normal(size=(*shape, 3)).astype(np.float32),
        "terminated": draw.random(shape) < 0.1,
        "cut": draw.random(shape) < 0.1,
    }


def learn(learner: ppo.Learner, rows: slice, updates: range) -> None:
    for update in updates:
        step = 0
        while not learner.ready:
            given = transitions(100 * update + step, 7, 2)
            learner.observe(**{name: array[rows] for name, array in given.items()})
            step += 1
        learner.update(update)


def play(learner: ppo.Learner, actor: Spec, tick: int, seen: np.ndarray, reward_of: Reward) -> None:
    """One step of a bandit: act on `seen` (agents, in), take the reward, and end."""
    agents = len(seen)
    noise = gaussian.normals(3, "explore", tick, 0, agents, actor.sizes[-1])
    acted = gaussian.act(actor, learner.weights(), seen, noise)
    reward = reward_of(acted.action)
    done = np.ones((agents, 1), dtype=bool)
    learner.observe(
        seen[:, None],
        acted.raw[:, None],
        acted.log_prob[:, None],
        reward[:, None].astype(np.float32),
        seen[:, None],
        done,
        done,
    )


def test_each_agent_learns_its_own_best_vector_of_actions() -> None:
    # Reward -|M u - b|^2 with |u| <= 1; the last agent's best actions touch the bounds.
    agents, actions = 4, 3
    draw = np.random.default_rng(4)
    m = np.eye(3) + 0.15 * draw.normal(size=(agents, actions, actions))
    b = np.einsum("nij,nj->ni", m, draw.uniform(-0.7, 0.7, (agents, actions)))
    b[-1] *= 4
    best = [lsq_linear(m[i], b[i], (-1, 1)).x for i in range(agents)]
    assert np.abs(best[-1]).max() == pytest.approx(1)

    actor, critic = gaussian.node_networks(1, actions - 1)
    settings = ppo.Settings(learning_rate=0.003, steps=64, discount=0.0)
    learner = ppo.Learner(settings, 0, agents, actor, critic)
    seen = np.ones((agents, 1), dtype=np.float32)

    def reward(action: np.ndarray) -> np.ndarray:
        return -((np.einsum("nij,nj->ni", m, action) - b) ** 2).sum(axis=1)

    late = []
    for tick in range(70 * settings.steps):
        play(learner, actor, tick, seen, reward)
        if learner.ready:
            learner.update(tick)
            if tick >= 40 * settings.steps:
                late.append(gaussian.act(actor, learner.weights(), seen).action)
    np.testing.assert_allclose(np.mean(late, axis=0), best, atol=0.1)


def test_a_shared_policy_learns_the_best_action_of_every_observation() -> None:
    # Reward -|u - T s|^2: the best actions are T s.
    agents = 64
    target = np.array([[0.5, -0.3], [0.2, 0.6]])
    actor, critic = gaussian.node_networks(2, 1)
    settings = ppo.Settings(learning_rate=0.003, steps=16, batch=256, discount=0.0)
    learner = ppo.Learner(settings, 1, agents, actor, critic, shared=True)
    draw = np.random.default_rng(1)
    for tick in range(40 * settings.steps):
        seen = draw.uniform(-1, 1, (agents, 2)).astype(np.float32)
        best = seen @ target.T
        play(learner, actor, tick, seen, lambda u, best=best: -((u - best) ** 2).sum(axis=1))
        if learner.ready:
            learner.update(tick)
    seen = draw.uniform(-0.9, 0.9, (200, 2)).astype(np.float32)
    found = gaussian.act(actor, learner.weights(), seen).action
    assert np.sqrt(((found - seen @ target.T) ** 2).mean()) < 0.1


def test_a_stack_of_seven_learns_as_seven_alone() -> None:
    settings = ppo.Settings(steps=5, batch=4, epochs=2, learning_rate=0.003)
    whole = ppo.Learner(settings, 5, 7, ACTOR, CRITIC, worlds=2)
    learn(whole, slice(0, 7), range(3))
    single = []
    for i in range(7):
        alone = ppo.Learner(settings, 5, 1, ACTOR, CRITIC, first=i, worlds=2)
        learn(alone, slice(i, i + 1), range(3))
        single.append(alone.state())
    assert_stacked(whole.state(), single)


def test_goes_on_from_its_state_to_the_same_bytes() -> None:
    settings = ppo.Settings(steps=4, batch=3)
    first = ppo.Learner(settings, 5, 7, ACTOR, CRITIC, worlds=2)
    learn(first, slice(0, 7), range(2))
    first.observe(**transitions(1, 7, 2))
    second = ppo.Learner(settings, 5, 7, ACTOR, CRITIC, worlds=2)
    second.load(first.state())
    for learner in (first, second):
        learn(learner, slice(0, 7), range(2, 4))
    assert_identical(first.state(), second.state())


def test_the_first_step_starts_at_the_policy_that_acted() -> None:
    settings = ppo.Settings(steps=8, batch=8, epochs=1)
    learner = ppo.Learner(settings, 0, 7, ACTOR, CRITIC)
    draw = np.random.default_rng(0)
    for tick in range(8):
        seen = draw.normal(size=(7, 3)).astype(np.float32)
        play(learner, ACTOR, tick, seen, lambda u: u.sum(axis=1))
    report = learner.update(0)
    np.testing.assert_allclose(report["divergence"], 0, atol=1e-5)
    assert (report["clipped"] == 0).all()
    # Every ratio is 1, so the gain is the mean of standardised advantages.
    np.testing.assert_allclose(report["policy"], 0, atol=1e-5)


@pytest.mark.parametrize(("shift", "pulls"), [(-10.0, False), (0.0, True)])
def test_actions_beyond_the_ratio_limit_no_longer_pull(shift: float, pulls: bool) -> None:
    """Two transitions of one action, the better one made 10 in log density more likely since."""
    settings = ppo.Settings(steps=2, batch=1, epochs=1, discount=0.0, entropy=0.0)
    learner = ppo.Learner(settings, 0, 1, ACTOR, CRITIC)
    seen = np.full((1, 1, 3), 0.5, dtype=np.float32)
    acted = gaussian.act(ACTOR, learner.weights(), seen[0], np.array([[0.3, -0.4]]))
    done = np.ones((1, 1), dtype=bool)
    # The worse one is far less likely than it was, so it never pulls.
    for reward, offset in ((1.0, shift), (-1.0, 40.0)):
        log_prob = (acted.log_prob + np.float32(offset))[:, None]
        rewards = np.full((1, 1), reward, dtype=np.float32)
        learner.observe(seen, acted.raw[:, None], log_prob, rewards, seen, done, done)
    before = learner.weights()
    report = learner.update(0)
    after = learner.weights()
    assert report["clipped"][0] == (1.0 if shift else 0.5)
    moved = max(float(np.abs(after[name] - before[name]).max()) for name in before)
    assert (moved > 1e-4) == pulls


def test_refuses_what_it_cannot_learn_from() -> None:
    learner = ppo.Learner(ppo.Settings(steps=2), 0, 2, ACTOR, CRITIC)
    with pytest.raises(UsageError, match="needs 2 observed steps"):
        learner.update(0)
    good = transitions(0, 2, 1)
    with pytest.raises(UsageError, match=r"raw is \(2, 1, 1\); expected \(2, 1, 2\)"):
        learner.observe(**{**good, "raw": good["raw"][..., :1]})
    with pytest.raises(ValueError, match="ratio_limit"):
        ppo.Settings(ratio_limit=0)
    with pytest.raises(ValueError, match=r"std_first is 0.5; expected std_least \(0.6\) or more"):
        ppo.Settings(std_least=0.6)
