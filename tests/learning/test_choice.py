from __future__ import annotations

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.learning.choice import (
    epsilon_greedy,
    linear_schedule,
    pareto_set,
    preferences,
    price_levels,
    scalarised,
)


def test_price_levels_are_twenty_from_20_to_200() -> None:
    levels = price_levels()
    assert len(levels) == 20
    assert (levels[0], levels[-1]) == (20.0, 200.0)
    np.testing.assert_allclose(np.diff(levels), 180 / 19)


@pytest.mark.parametrize(
    ("given", "named"), [((20.0, 200.0, 1), "count is 1"), ((50.0, 50.0, 20), "high_usd_per_mwh")]
)
def test_price_levels_that_are_none_are_refused(
    given: tuple[float, float, int], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        price_levels(*given)


def test_a_schedule_falls_in_a_straight_line_and_stays() -> None:
    values = [linear_schedule(1.0, 0.2, 8, tick) for tick in (0, 4, 8, 100)]
    np.testing.assert_allclose(values, [1.0, 0.6, 0.2, 0.2])


def test_exploration_takes_every_action_as_often_and_the_best_otherwise() -> None:
    n, actions = 40_000, 20
    values = np.tile(np.arange(actions, dtype=np.float32), (n, 1))
    taken = np.bincount(epsilon_greedy(values, 0.4, 1, "s", 3, 0), minlength=actions) / n
    # Five standard deviations of a share of 0.02 and of one of 0.62.
    np.testing.assert_allclose(taken[:-1], 0.02, atol=5 * np.sqrt(0.02 * 0.98 / n))
    assert abs(taken[-1] - 0.62) < 5 * np.sqrt(0.62 * 0.38 / n)
    assert (epsilon_greedy(values, 0.0, 1, "s", 3, 0) == actions - 1).all()


@pytest.mark.parametrize("cut", [1, 50, 99])
def test_choosing_is_alike_for_any_split(cut: int) -> None:
    values = np.random.default_rng(0).normal(size=(100, 20)).astype(np.float32)
    whole = epsilon_greedy(values, 0.5, 7, "s", 11, 5)
    parts = [
        epsilon_greedy(values[:cut], 0.5, 7, "s", 11, 5),
        epsilon_greedy(values[cut:], 0.5, 7, "s", 11, 5 + cut),
    ]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert (whole != values.argmax(axis=1)).any()


def test_preferences_spread_evenly_over_the_simplex() -> None:
    drawn = preferences(np.random.default_rng(0).random((50_000, 3)))
    np.testing.assert_allclose(drawn.sum(axis=1), 1.0, atol=1e-6)
    # A uniform point of the triangle has weight above t with probability (1 - t)^2.
    for above in (0.2, 0.5, 0.8):
        share = (drawn > above).mean(axis=0)
        np.testing.assert_allclose(share, (1 - above) ** 2, atol=0.011)
    assert np.isfinite(preferences(np.zeros((1, 3)))).all()


def test_a_weighted_sum_over_objectives() -> None:
    values = np.array([[[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]], dtype=np.float32)
    weights = np.array([[0.5, 0.25, 0.25]], dtype=np.float32)
    assert scalarised(values, weights).tolist() == [[28.0, 56.0]]


def test_the_pareto_set_of_known_points() -> None:
    points = np.array([[1.0, 0.0], [0.8, 0.6], [0.5, 0.4], [0.0, 1.0], [0.8, 0.6], [0.0, 0.0]])
    assert pareto_set(points).tolist() == [True, True, False, True, True, False]
