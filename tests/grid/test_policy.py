"""The operator's policies: what their actions mean, what the heuristic picks."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.grid.observation import observe
from swarm.grid.policy import (
    ACTIONS,
    ACTIVATION_LEVELS,
    RESERVE_LEVELS,
    Heuristic,
    Random,
    action_of,
    levels,
    make_policy,
)
from swarm.rng import uniforms
from tests.grid.views import MW, view

PAGE = Path(__file__).parents[2] / "docs" / "operator.md"


def test_a_policy_that_learns_is_refused_without_weights() -> None:
    with pytest.raises(UsageError, match="operator is 'trained', which needs weights"):
        make_policy("trained", None)


def table_rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_every_action_once_and_they_decode_to_its_levels() -> None:
    rows = [row for row in table_rows() if row[0].startswith("reserve \\") or row[0][:2] == "**"]
    activation = [float(cell) for cell in rows[0][1:]]
    shown = {
        int(cell): (float(reserve.strip("*")), activation[column])
        for reserve, *cells in rows[1:]
        for column, cell in enumerate(cells)
    }
    assert sorted(shown) == list(range(ACTIONS)) == list(range(25))
    for action, pair in shown.items():
        assert levels(action) == levels(np.int64(action)) == pair
        assert action_of(*pair) == action


@pytest.mark.parametrize("bad", [-1, 25, 2.0, np.nan, None, "3", np.zeros(2)])
def test_what_is_no_action_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="whole number from 0 to 24"):
        levels(bad)


@pytest.mark.parametrize("name", ["heuristic", "random"])
def test_policies_are_as_they_declare(name: str) -> None:
    policy = make_policy(name, None)
    traits = policy.traits
    views = [view(uniforms=uniforms(1, "operator", tick, 0, 1)[0]) for tick in range(50)]
    actions = [policy.act(observe(one), one) for one in views]
    assert all(type(action) is int for action in actions)
    assert (len(set(actions)) > 1) == traits.stochastic
    assert not traits.needs_training
    assert not traits.has_memory
    again = [make_policy(name, None).act(observe(one), one) for one in views]
    assert again == actions


def test_random_takes_every_action_as_often() -> None:
    for slot in range(1000):
        one = view(uniforms=np.full(4, slot / 1000))
        assert Random().act(observe(one), one) == slot // 40
    last = view(uniforms=np.full(4, 1 - 2.0**-53))
    assert Random().act(observe(last), last) == 24


def chosen(**given: Any) -> tuple[float, float]:
    one = view(**given)
    return levels(Heuristic().act(observe(one), one))


@pytest.mark.parametrize("nominal", [50.0, 60.0])
@pytest.mark.parametrize(
    ("hz", "level"),
    [
        (50.0, 1.0),
        (49.9, 1.0),
        (50.1, 1.0),
        (49.89, 1.5),
        (50.11, 1.5),
        (49.8, 1.5),
        (50.2, 1.5),
        (49.79, 2.0),
        (50.21, 2.0),
        (np.nan, 1.0),
    ],
)
def test_activation_follows_where_the_last_interval_ended(
    nominal: float, hz: float, level: float
) -> None:
    ends = np.array([hz, *[49.0] * 11]) * (nominal / 50)
    assert chosen(nominal_hz=nominal, end_hz=ends)[1] == level
    assert chosen(nominal_hz=nominal, end_hz=ends, emergency=True)[1] == 2.0


@pytest.mark.parametrize(
    ("step_mw", "level"),
    [(0.0, 0.5), (2.2, 0.5), (2.3, 0.75), (3.4, 1.0), (4.6, 1.5), (6.8, 2.0), (60.0, 2.0)],
)
def test_restoration_covers_three_deviations_of_the_change(step_mw: float, level: float) -> None:
    # Changes of -5 to 5 steps, in any order: the median absolute deviation is 3 steps, so that
    # restoration of 60 MW at level 1 must cover 3 * 1.4826 * 3 = 13.34 steps.
    changes = np.array([2, -5, 0, 4, -1, 5, -3, 1, -2, 3, -4]) * step_mw * MW
    assert chosen(imbalance_w=np.concatenate([[0.0], np.cumsum(changes)]))[0] == level


def test_one_outage_does_not_move_the_deviation() -> None:
    calm = np.array([0, 1, 0, -1, 0, 1, 2, 1, 0, 1, 0, 1]) * MW
    assert chosen(imbalance_w=calm)[0] == 0.5
    assert chosen(imbalance_w=np.where(np.arange(12) == 4, -500 * MW, calm))[0] == 0.5


@pytest.mark.parametrize("interval", [0, 11])
def test_no_more_reserve_than_must_be_while_load_goes_unserved(interval: int) -> None:
    short = np.where(np.arange(12) == interval, 1.0, np.nan)
    assert chosen(largest_unit_w=999 * MW, unserved_w=short)[0] == 0.5
    assert chosen(largest_unit_w=999 * MW)[0] == 2.0


@pytest.mark.parametrize(
    ("unit_mw", "level"),
    [(0, 0.5), (40, 0.5), (41, 0.75), (80, 1.0), (81, 1.5), (120, 1.5), (160, 2.0), (999, 2.0)],
)
def test_both_reserves_together_cover_the_largest_unit(unit_mw: float, level: float) -> None:
    assert chosen(largest_unit_w=unit_mw * MW)[0] == level


def test_until_three_changes_are_known_reserve_is_at_its_normal_level() -> None:
    unknown = np.full(12, np.nan)
    assert chosen(imbalance_w=unknown) == (1.0, 1.0)
    assert chosen(imbalance_w=unknown, largest_unit_w=100 * MW)[0] == 1.5
    # Three values next to each other are two changes; a gap joins nothing.
    gap = np.array([*[0.0, 90e6, 0.0], np.nan, 0.0, *[np.nan] * 7])
    assert chosen(imbalance_w=gap)[0] == 1.0
    assert chosen(imbalance_w=np.array([0, 90e6, 0, 0, *[np.nan] * 8]))[0] == 2.0


@settings(max_examples=200)
@given(
    imbalance_mw=st.lists(st.floats(-300, 300), min_size=12, max_size=12),
    containment_mw=st.floats(0, 100),
    restoration_mw=st.floats(0, 300),
    unit_mw=st.floats(0, 500),
)
def test_the_reserve_level_is_the_least_that_suffices(
    imbalance_mw: list[float], containment_mw: float, restoration_mw: float, unit_mw: float
) -> None:
    level, _ = chosen(
        imbalance_w=np.array(imbalance_mw) * MW,
        containment_size_w=containment_mw * MW,
        restoration_size_w=restoration_mw * MW,
        largest_unit_w=unit_mw * MW,
    )
    changes = [b - a for a, b in itertools.pairwise(imbalance_mw)]
    middle = statistics.median(changes)
    swing = 3 * 1.4826 * statistics.median(abs(change - middle) for change in changes)

    def short_mw(at: float) -> float:
        return max(swing - at * restoration_mw, unit_mw - at * (restoration_mw + containment_mw))

    lower = [other for other in RESERVE_LEVELS if other < level]
    assert all(short_mw(other) > -1e-6 for other in lower)
    assert level == RESERVE_LEVELS[-1] or short_mw(level) < 1e-6


def test_the_levels_are_those_of_the_design() -> None:
    assert len(RESERVE_LEVELS) == len(ACTIVATION_LEVELS) == 5
    assert 1.0 in RESERVE_LEVELS
    assert 1.0 in ACTIVATION_LEVELS
