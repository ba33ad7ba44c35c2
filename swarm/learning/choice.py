"""From action values to actions, in numpy: price levels, exploration, preferences over objectives.

All of it is row by row and draws by absolute agent index, so any split of the agents chooses alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.errors import UsageError
from swarm.learning.networks import Spec, Weights, forward
from swarm.rng import uniforms

Float = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int = NDArray[np.int64]


def price_levels(
    low_usd_per_mwh: float = 20.0, high_usd_per_mwh: float = 200.0, count: int = 20
) -> Float:
    """Evenly spaced prices in $/MWh, both ends included, (count,).

    Raises:
        UsageError: fewer than two levels, or ends that do not ascend.
    """
    if count < 2:
        raise UsageError(f"count is {count}: at least 2 price levels are needed")
    if not low_usd_per_mwh < high_usd_per_mwh:
        raise UsageError(
            f"high_usd_per_mwh is {high_usd_per_mwh}: it must be above low_usd_per_mwh, "
            f"{low_usd_per_mwh}"
        )
    return np.linspace(low_usd_per_mwh, high_usd_per_mwh, count)


def check_transitions(rows: Mapping[str, NDArray[Any]], actions: int) -> None:
    """Raise UsageError unless "action" is within 0 to `actions` - 1 and every number is finite."""
    action = rows["action"]
    if not ((action >= 0) & (action < actions)).all():
        wrong = action[(action < 0) | (action >= actions)][0]
        raise UsageError(f"action is {wrong}; expected 0 to {actions - 1}")
    for name, row in rows.items():
        if not np.isfinite(row).all():
            raise UsageError(f"{name} has a number that is not finite")


def linear_schedule(start: float, end: float, ticks: int, tick: int) -> float:
    """From `start` at tick 0 in a straight line to `end` at `ticks`, and `end` from there on."""
    return end if tick >= ticks else start + (end - start) * tick / ticks


def epsilon_greedy(
    values: Float32, epsilon: float, seed: int, stream: str, tick: int, first: int
) -> Int:
    """The action of highest value, or with probability `epsilon` any, each as likely; int64 (n,).

    Args:
        values: of each action, (n, actions); the lowest of equal ones is taken.
        epsilon: in [0, 1].
        seed: the run's seed.
        stream: name of the stream of draws.
        tick: of the decision.
        first: absolute index of the agent in the first row.
    """
    return best_or_any(values, epsilon, uniforms(seed, stream, tick, first, len(values)))


def best_or_any(values: Float32, epsilon: float, drawn: Float) -> Int:
    """As `epsilon_greedy`, from uniforms that were drawn already, (n, 2 or more)."""
    explored = (drawn[:, 1] * values.shape[1]).astype(np.int64)
    chosen: Int = np.where(drawn[:, 0] < epsilon, explored, values.argmax(axis=1))
    return chosen


def preferences(drawn: Float) -> Float32:
    """Weight vectors spread evenly over the simplex from uniforms in [0, 1), (..., objectives).

    Each sums to 1. Normalised exponentials (Devroye, Non-Uniform Random Variate Generation, 1986,
    theorem V.2.2).
    """
    exponential = -np.log1p(-drawn)
    # All zero has probability 2**-53 for each objective; the floor keeps it from 0 / 0.
    total = np.maximum(exponential.sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny)
    drawn_weights: Float32 = (exponential / total).astype(np.float32)
    return drawn_weights


def vector_values(spec: Spec, weights: Weights, observation: Float32) -> Float32:
    """Values (n, objectives, actions) by the networks of `modqn` for observations (n, in).

    Args:
        spec: network of one objective.
        weights: (n * objectives, ...), the networks of one agent next to each other.
        observation: (n, in).
    """
    n = len(observation)
    objectives = len(weights["layer0.bias"]) // n
    values = forward(spec, weights, np.repeat(observation, objectives, axis=0))
    return values.reshape(n, objectives, -1)


def scalarised(values: Float32, preferences: Float32) -> Float32:
    """Sum over objectives of preference times value: (n, k, actions) and (n, k) to (n, actions).

    Objectives are added in index order, which no split of the rows can change.
    """
    total = preferences[:, 0, None] * values[:, 0]
    for objective in range(1, values.shape[1]):
        total = total + preferences[:, objective, None] * values[:, objective]
    return total


def pareto_set(returns: Float) -> NDArray[np.bool_]:
    """Which rows of `returns` (k, objectives), more is better, no other row dominates; (k,).

    A row dominates another if it is nowhere less and somewhere more; equal rows are both kept.
    """
    at_least = (returns[:, None] >= returns[None]).all(axis=2)
    more = (returns[:, None] > returns[None]).any(axis=2)
    dominated: NDArray[np.bool_] = np.any(at_least & more, axis=0)
    return ~dominated
