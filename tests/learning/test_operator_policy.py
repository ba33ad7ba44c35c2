"""The learned operator: what it chooses, what it keeps of a run, and the report of preferences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from swarm.agents.experience import Experience
from swarm.errors import RunError, UsageError
from swarm.grid.balance import Operated
from swarm.grid.observation import observe
from swarm.grid.operator import Operator
from swarm.grid.policy import Learned, make_policy
from swarm.learning import modqn, networks
from swarm.learning.networks import Weights
from swarm.learning.operator import (
    TrainedOperator,
    episode_preference,
    front,
    spread_preferences,
)
from swarm.loop import simulate
from swarm.market.record import TickRecord
from swarm.rng import uniforms
from swarm.runtime.inline import InlineEngine
from swarm.runtime.packing import contiguous, even, pack
from swarm.runtime.setup import Plan, plan
from swarm.world.world import build_world
from tests.grid.grids import UNIT, fleet, scenario
from tests.grid.views import view

OBJECTIVE_NAMES = ("stability", "cost", "emissions")
OBJECTIVES = len(OBJECTIVE_NAMES)
TICKS = 8
PREFERENCE = (0.2, 0.5, 0.3)


def weights(seed: int = 0) -> Weights:
    return networks.init(networks.OPERATOR, seed, 0, OBJECTIVES)


def valued(values: Mapping[int, tuple[float, float, float]]) -> Weights:
    """Weights under which an action is worth the given vector, all others nothing."""
    found = {name: np.zeros_like(array) for name, array in weights().items()}
    for action, worth in values.items():
        found["layer3.bias"][:, action] = worth
    return found


def acting(given: Weights, **more: Any) -> TrainedOperator:
    policy = TrainedOperator()
    policy.take(Learned(given, **more))
    return policy


def test_the_preference_picks_between_stability_cost_and_emissions() -> None:
    policy = acting(valued({3: (1.0, 0.0, 0.0), 11: (0.0, 1.0, 0.0), 24: (0.4, 0.4, 0.5)}))
    for preference, action in (((0.9, 0.1, 0), 3), ((0.1, 0.9, 0), 11), ((0.3, 0.3, 0.4), 24)):
        one = view(preference=np.array(preference))
        assert policy.act(observe(one), one) == action


def test_explores_as_often_as_it_was_told_over_all_actions() -> None:
    explores = acting(valued({7: (1.0, 1.0, 1.0)}), epsilon=0.5)
    drawn = [uniforms(3, "operator", tick, 0, 1)[0] for tick in range(2000)]
    chosen = [explores.act(np.zeros(80, np.float32), view(uniforms=one)) for one in drawn]
    counts = np.bincount(chosen, minlength=25)
    # 0.5 and a 25th of the rest: 1,040 of 2,000, and 40 of each other action.
    assert abs(counts[7] - 1040) < 4 * np.sqrt(2000 * 0.25)
    assert np.delete(counts, 7).min() > 10
    never = acting(valued({7: (1.0, 1.0, 1.0)}))
    assert {never.act(np.zeros(80, np.float32), view(uniforms=one)) for one in drawn} == {7}


def test_a_decision_is_worth_the_mean_of_the_two_intervals_it_moves() -> None:
    policy = acting(weights(), epsilon=0.3)
    seen = np.random.default_rng(0).normal(size=(5, 80)).astype(np.float32)
    worth = np.arange(15.0).reshape(5, 3)
    acted = []
    for tick in range(5):
        # The interval before the last is settled, then the tick after it is decided for.
        if tick >= 2:
            policy.settle(tick - 2, worth[tick - 2])
        acted.append(policy.act(seen[tick], view(tick=tick)))
    lived = policy.experience()
    assert lived.tick.tolist() == [0, 1, 2]
    assert lived.agent.tolist() == [0]
    assert lived.reward[:, 0].tolist() == [[0, 1, 2], [1.5, 2.5, 3.5], [4.5, 5.5, 6.5]]
    np.testing.assert_array_equal(lived.observation[:, 0], seen[:3])
    np.testing.assert_array_equal(lived.next_observation[:, 0], seen[1:4])
    assert lived.action[:, 0].tolist() == acted[:3]
    assert len(policy.experience()) == 0
    policy.settle(3, worth[3])
    assert policy.experience().reward[:, 0].tolist() == [[7.5, 8.5, 9.5]]


def test_goes_on_from_its_state() -> None:
    straight, resumed = acting(weights(), epsilon=0.3), acting(weights(), epsilon=0.3)
    for tick in range(4):
        straight.act(np.full(80, tick, np.float32), view(tick=tick))
        straight.settle(tick - 1, np.full(3, float(tick)))
    resumed.load(straight.state())
    for policy in (straight, resumed):
        policy.act(np.full(80, 9, np.float32), view(tick=4))
        policy.settle(3, np.ones(3))
    assert_same(straight.experience(), resumed.experience())


def test_keeps_nothing_unless_it_explores() -> None:
    policy = acting(weights())
    for tick in range(3):
        policy.act(np.zeros(80, np.float32), view(tick=tick))
        policy.settle(tick, np.ones(3))
    assert len(policy.experience()) == 0
    assert policy.experience().reward.shape == (0, 1, 3)


def test_weights_of_another_network_are_refused() -> None:
    for wrong in (
        networks.init(networks.GENERATOR, 0, 0, 3),
        networks.init(networks.OPERATOR, 0, 0, 1),
    ):
        with pytest.raises(UsageError):
            make_policy("trained", Learned(wrong))


class Nothing:
    """Keeps no results."""

    def write(self, record: TickRecord, operated: Operated) -> None:
        """Drops them."""


@cache
def town() -> Plan:
    """An island of two units, wind, a battery and loads, whose operator buys reserve."""
    loads = [{"load_mw": 20, "flexible_mw": 2}] * 4
    weighed = dict(zip(OBJECTIVE_NAMES, PREFERENCE, strict=True))
    made = scenario(
        fleet("units", "generator", UNIT, {**UNIT, "marginal_cost_per_mwh": 80}),
        fleet("sails", "wind", {"capacity_mw": 30}),
        fleet("cells", "storage", {"energy_mwh": 20, "power_mw": 10}),
        fleet("loads", "consumer", *loads),
        ticks=TICKS,
        grid={
            "reserves": {"containment_mw": 5, "restoration_mw": 10},
            "operator": "trained",
            "operator_weights": weighed,
        },
    )
    return plan(build_world(made, None), "heuristic")


def ran(per_host: int | None = None, **more: Any) -> Operator:
    """The operator after a run of the town."""
    ready = town()
    hosts = even(ready, 1) if per_host is None else contiguous(ready, per_host)
    market, operator = pack(ready, hosts)
    engine = InlineEngine(market, replace(operator, learned=Learned(weights(), **more)), hosts)
    simulate(engine, TICKS, Nothing(), lambda *_: None)
    return engine.operator


def assert_same(one: Experience, other: Experience) -> None:
    for field in fields(Experience):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_a_run_gives_a_transition_for_every_decision_that_another_follows() -> None:
    lived = ran(epsilon=0.5).experience()
    assert lived.tick.tolist() == list(range(TICKS - 1))
    assert len(set(lived.action.ravel().tolist())) > 1
    assert np.isfinite(lived.reward).all()
    # An island that burns fuel: none of the objectives is idle.
    assert (lived.reward[:, 0, 1] < 0).all()
    assert (lived.reward[:, 0, 0] <= 1).all()
    np.testing.assert_array_equal(lived.next_observation[:-1], lived.observation[1:])
    seen = lived.observation[:, 0, 21:24]
    np.testing.assert_allclose(seen, np.tile(PREFERENCE, (TICKS - 1, 1)), rtol=1e-6)
    learner = modqn.Learner(modqn.Settings(warmup=1, batch=4), 0)
    ended = np.zeros((1, len(lived)), dtype=np.bool_)
    parts = (lived.observation, lived.action, lived.reward, lived.next_observation)
    learner.observe(*(np.swapaxes(part, 0, 1) for part in parts), ended)
    assert np.isfinite(learner.update(0)["loss"]).all()


def test_packing_changes_nothing_of_what_it_lives_through() -> None:
    assert_same(ran(epsilon=0.5).experience(), ran(3, epsilon=0.5).experience())


def test_a_training_may_run_it_under_another_preference_than_the_scenarios() -> None:
    lived = ran(epsilon=0.0, preference=(0.0, 0.0, 1.0)).experience()
    assert lived.observation[0, 0, 21:24].tolist() == [0, 0, 1]


def test_new_weights_are_taken_between_ticks_and_an_operator_that_does_not_learn_says_so() -> None:
    operator = ran()
    operator.take(Learned(weights(1), epsilon=0.1))
    assert len(operator.experience()) == 0
    plain = Operator(replace(town().operator, policy="heuristic"))
    with pytest.raises(RunError, match="operator policy 'heuristic' does not learn"):
        plain.experience()


def test_preferences_of_episodes_cover_the_simplex() -> None:
    drawn = np.array([episode_preference(4, episode) for episode in range(400)])
    np.testing.assert_allclose(drawn.sum(axis=1), 1, atol=1e-6)
    # Uniform on the simplex: each mean is 1/3 with a standard deviation of 0.2357 / 20.
    assert np.abs(drawn.mean(axis=0) - 1 / 3).max() < 5 * 0.2357 / 20
    assert drawn[0].tolist() == list(episode_preference(4, 0))
    assert len({tuple(row) for row in drawn.tolist()}) == 400


@pytest.mark.parametrize("count", [1, 3, 4, 5, 40])
def test_spread_preferences_are_weights_without_repetition(count: int) -> None:
    found = spread_preferences(count)
    assert found.shape == (count, 3)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert len({tuple(row) for row in found.round(9).tolist()}) == count


def test_spread_preferences_leave_no_part_of_the_simplex_out() -> None:
    found = spread_preferences(100)
    for corner in np.eye(3):
        near = ((found - corner) ** 2).sum(axis=1) < 0.4
        # That part is the share 0.4 * pi / 6 over the area sqrt(3) / 2, 24 %.
        assert 15 <= near.sum() <= 35


def test_no_preferences_are_refused() -> None:
    with pytest.raises(UsageError, match="count is 0"):
        spread_preferences(0)


def test_the_front_marks_what_is_dominated_and_what_another_did_better() -> None:
    given = [[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0, 0, 1]]
    returns = np.array([[1.0, -2, -1], [0.0, -1, -1], [0.4, -1.6, -1], [-0.1, -1, -1]])
    found = front(given, returns)
    assert found.efficient.tolist() == [True, True, True, False]
    # Half and half is worth -0.6 by its own return and -0.5 by both corners'.
    assert found.supported.tolist() == [True, True, False, True]
    rows = found.table().splitlines()
    assert rows[2] == "| 1.00 | 0.00 | 0.00 | 1.0000 | -2.0000 | -1.0000 | yes | yes |"
    assert rows[5].endswith("| no | yes |")


def test_returns_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match=r"preferences are \(1, 3\) and returns \(2, 3\)"):
        front([[1, 0, 0]], np.zeros((2, 3)))
    with pytest.raises(UsageError, match="not finite"):
        front([[1, 0, 0]], np.full((1, 3), np.nan))
