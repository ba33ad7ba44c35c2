"""Replay: a ring per agent that keeps the newest, samples alike under any split, and goes on."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.learning.replay import Replay

AGENTS, CAPACITY = 3, 10
FIELDS = {"observation": ((2,), np.float32), "action": ((), np.int64)}


def transitions(start: int, k: int, agents: int = AGENTS, first: int = 0) -> dict[str, np.ndarray]:
    """Transition t of agent a has action 1000 a + t, and observation (t, a)."""
    t = np.broadcast_to(np.arange(start, start + k), (agents, k))
    a = np.broadcast_to(np.arange(first, first + agents)[:, None], (agents, k))
    return {"observation": np.stack([t, a], axis=2).astype(np.float32), "action": 1000 * a + t}


def replay(**more: int) -> Replay:
    return Replay(AGENTS, CAPACITY, FIELDS, **{"seed": 5, **more})


@settings(max_examples=60)
@given(sizes=st.lists(st.integers(0, 25), max_size=6))
def test_keeps_the_newest_as_a_deque_does(sizes: list[int]) -> None:
    rings = replay()
    expected = [deque(maxlen=CAPACITY) for _ in range(AGENTS)]
    start = 0
    for k in sizes:
        rings.add(transitions(start, k))
        for agent, ring in enumerate(expected):
            ring.extend(1000 * agent + t for t in range(start, start + k))
        start += k
    held = rings.state()
    assert len(rings) == len(expected[0])
    for agent, ring in enumerate(expected):
        assert sorted(held["action"][agent]) == sorted(ring)
    np.testing.assert_array_equal(held["observation"][..., 0], held["action"] % 1000)


def test_samples_whole_transitions_of_the_agent_itself_each_as_often() -> None:
    rings = replay()
    rings.add(transitions(0, 17))
    drawn = [rings.sample(tick, batch=32) for tick in range(250)]
    action = np.concatenate([part["action"] for part in drawn], axis=1)
    seen = np.concatenate([part["observation"] for part in drawn], axis=1)
    assert action.shape == (AGENTS, 8_000)
    assert seen.shape == (AGENTS, 8_000, 2)
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen[..., 0] + 1000 * seen[..., 1], action)
    for agent in range(AGENTS):
        values, counts = np.unique(action[agent] - 1000 * agent, return_counts=True)
        np.testing.assert_array_equal(values, np.arange(7, 17))
        # 800 expected each with a standard deviation of 27.
        assert abs(counts - 800).max() < 4 * 27
    assert (drawn[0]["action"] != drawn[1]["action"]).any()
    assert (drawn[0]["action"][1] != drawn[0]["action"][0] + 1000).any()


def test_before_it_is_full_only_what_was_added_is_sampled() -> None:
    rings = replay()
    rings.add(transitions(0, 3))
    found = rings.sample(tick=0, batch=64)["action"] % 1000
    assert set(found.ravel().tolist()) == {0, 1, 2}


def test_a_split_of_the_agents_samples_alike() -> None:
    whole = Replay(7, CAPACITY, FIELDS, seed=5, first=100)
    whole.add(transitions(0, 8, agents=7, first=100))
    expected = whole.sample(tick=3, batch=5)
    for a, b in [(0, 1), (1, 5), (5, 7)]:
        part = Replay(b - a, CAPACITY, FIELDS, seed=5, first=100 + a)
        part.add(transitions(0, 8, agents=b - a, first=100 + a))
        for name, array in part.sample(tick=3, batch=5).items():
            np.testing.assert_array_equal(array, expected[name][a:b])


@pytest.mark.parametrize("before", [4, 23])
def test_goes_on_from_its_state_to_the_same_bytes(before: int) -> None:
    through, again = replay(), replay()
    through.add(transitions(0, before))
    state = through.state()
    through.add(transitions(before, 5))
    again.load(state)
    again.add(transitions(before, 5))
    for name, array in through.sample(9, 16).items():
        np.testing.assert_array_equal(again.sample(9, 16)[name], array)
    for name, array in through.state().items():
        np.testing.assert_array_equal(again.state()[name], array)
    # The state is a copy: what came after did not change it.
    assert state["added"].tolist() == [before]
    assert state["action"].max() < 2000 + before


def test_memory_is_stated_and_fixed() -> None:
    rings = Replay(
        100,
        10_000,
        {
            "observation": ((64,), np.float32),
            "next": ((64,), np.float32),
            "action": ((), np.int32),
            "reward": ((), np.float32),
        },
        seed=0,
    )
    assert rings.bytes == 100 * 10_000 * 520
    small = replay()
    before = small.bytes
    small.add(transitions(0, 50))
    assert small.bytes == before == AGENTS * CAPACITY * 16


def test_wrong_input_is_refused_and_changes_nothing() -> None:
    rings = replay()
    with pytest.raises(UsageError, match="replay is empty"):
        rings.sample(0, 4)
    rings.add(transitions(0, 2))
    good = transitions(2, 1)
    with pytest.raises(UsageError, match=r"observation is \(2, 1, 2\); expected \(3, 1, 2\)"):
        rings.add({**good, "observation": good["observation"][:2]})
    with pytest.raises(UsageError, match=r"transitions have \['action'\]"):
        rings.add({"action": good["action"]})
    state = rings.state()
    with pytest.raises(UsageError, match=r"action is \(3, 1\); expected \(3, 2\)"):
        rings.load({**state, "action": state["action"][:, :1]})
    with pytest.raises(UsageError, match="replay state has"):
        rings.load({"added": state["added"]})
    assert len(rings) == 2
    for make, says in (
        (lambda: Replay(0, 1, FIELDS, 0), "agents is 0"),
        (lambda: Replay(1, 0, FIELDS, 0), "capacity is 0"),
        (lambda: Replay(1, 1, {}, 0), "fields is 0"),
        (lambda: Replay(1, 1, {"added": ((), np.int64)}, 0), "'added' is taken"),
    ):
        with pytest.raises(UsageError, match=says):
            make()
