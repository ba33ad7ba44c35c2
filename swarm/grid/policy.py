"""The grid operator's policy: how much reserve to ask for, how hard secondary control pulls.

Once a tick a policy answers an `OperatorView`, and the 80 numbers that `swarm.grid.observation`
makes of it, with one of 25 actions: five reserve levels times five activation levels.
`docs/operator.md` shows them as a table.
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from swarm.errors import UsageError
from swarm.grid.observation import OperatorView, swing_w
from swarm.messages import Float

if TYPE_CHECKING:
    from swarm.agents.experience import Experience

RESERVE_LEVELS = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Times the scenario's reserve sizes."""
ACTIVATION_LEVELS = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Times the gains of secondary control in the next interval."""
ACTIONS = len(RESERVE_LEVELS) * len(ACTIVATION_LEVELS)
BAND_HZ = (0.1, 0.2)
"""Deviations in a 50 Hz system; they scale with nominal frequency."""
_TOLERANCE_HZ = 1e-9
_NORMAL = 1.0


def levels(action: int) -> tuple[float, float]:
    """Reserve level and activation level of an action.

    Raises:
        ValueError: where `action` is not a whole number from 0 to 24.
    """
    try:
        index = operator.index(action)
    except TypeError:
        index = -1
    if not 0 <= index < ACTIONS:
        raise ValueError(f"action {action!r} is not a whole number from 0 to {ACTIONS - 1}")
    reserve, activation = divmod(index, len(ACTIVATION_LEVELS))
    return RESERVE_LEVELS[reserve], ACTIVATION_LEVELS[activation]


def action_of(reserve_level: float, activation_level: float) -> int:
    """The action of two levels; both must be in their tuples."""
    reserve = RESERVE_LEVELS.index(reserve_level)
    return len(ACTIVATION_LEVELS) * reserve + ACTIVATION_LEVELS.index(activation_level)


@dataclass(frozen=True)
class OperatorTraits:
    """What a policy declares about itself, as `swarm.agents.policy.Traits`."""

    stochastic: bool
    """Acts on `view.uniforms`."""
    needs_training: bool
    has_memory: bool
    """Its actions depend on earlier calls."""


class OperatorPolicy(Protocol):
    """Acts for the operator once a tick."""

    traits: OperatorTraits

    def act(self, observation: NDArray[np.float32], view: OperatorView) -> int:
        """The action for the next tick, 0..24, from `observe(view)` and the view itself."""

    def settle(self, tick: int, reward: Float) -> None:
        """Told what the interval `tick` was worth, float64 (3,): see `swarm.grid.reward`."""


@dataclass(frozen=True)
class Learned:
    """What a learned policy acts with.

    Attributes:
        weights: arrays of its network by name, float32, first axis one row for each objective.
        epsilon: probability of any action instead of the best one. None: it acts on what it has
            learned alone and keeps nothing.
        preference: weights of the objectives; None: those of the scenario.
    """

    weights: Mapping[str, NDArray[np.float32]]
    epsilon: float | None = None
    preference: tuple[float, ...] | None = None


class Learning(OperatorPolicy, Protocol):
    """A policy that learns."""

    def take(self, learned: Learned) -> None:
        """Act with this from now on."""

    def experience(self) -> Experience:
        """What was decided and what came of it, since the last call."""

    def state(self) -> dict[str, NDArray[Any]]:
        """What it has kept and `experience` has not given yet."""

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave."""


class Heuristic:
    """Sizes reserve by the recent imbalance and the largest unit, activation by frequency.

    Reserve is the least level at which restoration covers three standard deviations of the change
    of the imbalance from interval to interval (a probabilistic size) and restoration with
    containment covers the loss of the largest running unit (the reference incident). After the
    ENTSO-E System Operation Guideline, Regulation (EU) 2017/1485, article 157, which asks
    restoration alone to cover the incident. Where no level suffices, the highest; where fewer than
    three changes are known, level 1 or more. While load went unserved in the last 12 intervals,
    the lowest: reserve is held out of the energy that is lacking.
    """

    traits = OperatorTraits(stochastic=False, needs_training=False, has_memory=False)

    def act(self, observation: NDArray[np.float32], view: OperatorView) -> int:
        """See `OperatorPolicy`."""
        return action_of(_reserve_level(view), _activation_level(view))

    def settle(self, tick: int, reward: Float) -> None:
        """Learns nothing."""


class Random:
    """Uniform over the actions: the floor any policy must beat."""

    traits = OperatorTraits(stochastic=True, needs_training=False, has_memory=False)

    def act(self, observation: NDArray[np.float32], view: OperatorView) -> int:
        """See `OperatorPolicy`."""
        return int(view.uniforms[0] * ACTIONS)

    def settle(self, tick: int, reward: Float) -> None:
        """Learns nothing."""


POLICIES: Mapping[str, type[OperatorPolicy] | str] = {
    "heuristic": Heuristic,
    "random": Random,
    "trained": "swarm.learning.operator:TrainedOperator",
}
"""Classes by the names of `grid.operator`, or where to find one that not every run imports."""


def make_policy(name: str, learned: Learned | None) -> OperatorPolicy:
    """The policy called by a name in `POLICIES`.

    Raises:
        UsageError: it needs weights and there are none, or they are not its network's.
    """
    found = POLICIES[name]
    if isinstance(found, str):
        module, _, class_name = found.partition(":")
        found = getattr(importlib.import_module(module), class_name)
    policy: Any = found()
    if policy.traits.needs_training:
        if learned is None:
            raise UsageError(f"grid.operator is {name!r}, which needs weights: none were given")
        policy.take(learned)
    made: OperatorPolicy = policy
    return made


def _reserve_level(view: OperatorView) -> float:
    if (view.unserved_w > 0).any():
        return RESERVE_LEVELS[0]
    covers_w = swing_w(view.imbalance_w)
    known = bool(np.isfinite(covers_w))
    incident_w = float(np.nan_to_num(view.largest_unit_w))
    for level in RESERVE_LEVELS:
        restoration_w = level * view.restoration_size_w
        covered = restoration_w + level * view.containment_size_w >= incident_w
        suffices = restoration_w >= covers_w if known else level >= _NORMAL
        if suffices and covered:
            return level
    return RESERVE_LEVELS[-1]


def _activation_level(view: OperatorView) -> float:
    """By where the last interval ended: the next one starts there."""
    deviation_hz = abs(float(view.end_hz[0]) - view.nominal_hz) - _TOLERANCE_HZ
    inner_hz, outer_hz = (limit * view.nominal_hz / 50 for limit in BAND_HZ)
    if view.emergency or deviation_hz > outer_hz:
        return 2.0
    return 1.5 if deviation_hz > inner_hz else _NORMAL
