"""Policies: from what the agents of a shard see to what they do, one array program for all of them.

An action is float64 (n, len(kind.ACTION)); the kind turns it into orders. Write your own as a
class with the methods of `Policy` and name it `--policy package.module:Class`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from swarm.agents.view import View
from swarm.errors import RunError, UsageError, nearest
from swarm.market.orders import MAX_PRICE_MILLI, MILLI_PER_UNIT
from swarm.messages import Float, Int
from swarm.scenario.roster import Roster
from swarm.snapshot import stateful

if TYPE_CHECKING:
    from swarm.agents.experience import Experience


@dataclass(frozen=True)
class Traits:
    """What a policy declares about itself; the contract test checks it."""

    stochastic: bool
    """Acts on `view.uniforms`; its actions change with the seed."""
    needs_training: bool
    has_memory: bool
    """Its actions depend on earlier calls."""


@dataclass(frozen=True)
class Settled:
    """How an interval ended for the n agents of a shard, told two ticks after their offers for it.

    Attributes:
        tick: the interval.
        received_micro: int64 (n,), money received, negative where paid.
        cost_micro: int64 (n,), its true cost: fuel, CO2, starts, wear, discomfort.
        frequency_hz: at its end; NaN where it is not simulated.
    """

    tick: int
    received_micro: Int
    cost_micro: Int
    frequency_hz: float


class Policy(Protocol):
    """Acts for the n agents of one shard. Row i must depend on agent i and the signal alone."""

    traits: Traits

    def __init__(self, kind: Any, parameters: Any) -> None:
        """Made once per shard from the kind's module and its `Parameters`."""

    def act(self, state: Any, view: View) -> Float:
        """The action of every agent, float64 (n, len(kind.ACTION)), finite."""

    def settle(self, settled: Settled) -> None:
        """Told how an interval ended."""


@dataclass(frozen=True)
class Exploration:
    """How agents leave what they have learned to find out more.

    Attributes:
        epsilon: probability of any price level instead of the best one.
        noise: standard deviation of the noise on a consumer's share. That of a storage's power is
            among its weights.
        operator: probability of any action of the grid operator instead of the best one.
        stochastic: False: acts on what is learned alone, and only writes down what came of it.
    """

    epsilon: float
    noise: float
    operator: float = 0.0
    stochastic: bool = True


@dataclass(frozen=True)
class Learned:
    """What the learned policy of n agents of a kind acts with.

    Attributes:
        weights: network -> its arrays by name, float32, first axis n, or 1 shared by all.
        exploration: None: acts on what it has learned alone and writes nothing down.
    """

    weights: Mapping[str, Mapping[str, NDArray[np.float32]]]
    exploration: Exploration | None = None


def of_rows(learned: Learned, start: int, stop: int) -> Learned:
    """What agents `start` to `stop - 1` of those it is for act with."""
    weights = {
        network: {
            name: array if len(array) == 1 else array[start:stop] for name, array in arrays.items()
        }
        for network, arrays in learned.weights.items()
    }
    return replace(learned, weights=weights)


class Learning(Policy, Protocol):
    """A policy that learns."""

    def take(self, learned: Learned) -> None:
        """Act with this from now on."""

    def experience(self) -> Mapping[str, Experience]:
        """What every network decided and what came of it, since the last call."""


def keeps(policy: Any) -> bool:
    """Whether a policy has a state that a checkpoint must hold.

    Raises:
        RunError: it has one and does not say which attributes it is made of.
    """
    if policy is None or not policy.traits.has_memory:
        return False
    if not stateful(policy):
        raise RunError(
            f"policy {type(policy).__name__} has a memory and no STATE: name in it the attributes "
            "that a checkpoint must hold, or run with --checkpoint-every 0"
        )
    return True


class Heuristic:
    """The heuristic of the agent's kind."""

    traits = Traits(stochastic=False, needs_training=False, has_memory=False)

    def __init__(self, kind: Any, parameters: Any) -> None:
        self._kind, self._parameters = kind, parameters

    def act(self, state: Any, view: View) -> Float:
        """See the kind's `heuristic`."""
        action: Float = self._kind.heuristic(self._parameters, state, view)
        return action

    def settle(self, settled: Settled) -> None:
        """Learns nothing."""


class Random:
    """Uniform over the actions of the agent's kind: the floor any policy must beat."""

    traits = Traits(stochastic=True, needs_training=False, has_memory=False)

    def __init__(self, kind: Any, parameters: Any) -> None:
        self._kind, self._parameters = kind, parameters

    def act(self, state: Any, view: View) -> Float:
        """See the kind's `random`."""
        action: Float = self._kind.random(self._parameters, state, view)
        return action

    def settle(self, settled: Settled) -> None:
        """Learns nothing."""


class Passive:
    """Flexible kinds neither trade at will nor respond: what a market without a swarm does.

    Load, surplus sun, urgent charging of vehicles and catch-ups that are due go on; kinds that are
    not flexible follow their heuristic.
    """

    traits = Traits(stochastic=False, needs_training=False, has_memory=False)

    def __init__(self, kind: Any, parameters: Any) -> None:
        self._kind, self._parameters = kind, parameters

    def act(self, state: Any, view: View) -> Float:
        """Zeros, or the kind's `heuristic`."""
        if self._kind.FLEXIBLE:
            return np.zeros((len(view.standing), len(self._kind.ACTION)))
        action: Float = self._kind.heuristic(self._parameters, state, view)
        return action

    def settle(self, settled: Settled) -> None:
        """Learns nothing."""


BUILT_IN: Mapping[str, type[Policy] | str] = {
    "heuristic": Heuristic,
    "random": Random,
    "passive": Passive,
    "trained": "swarm.learning.policy:Trained",
}
"""Classes by name, or where to find one whose import is not for everybody."""


def load_policy(name: str) -> type[Policy]:
    """The policy class called by a name in `BUILT_IN` or `package.module:Class`.

    Raises:
        UsageError: where there is no such policy, it cannot be imported or lacks a method.
    """
    found = BUILT_IN.get(name, name)
    if not isinstance(found, str):
        return found
    module_name, _, class_name = found.partition(":")
    if not module_name or not class_name:
        raise UsageError(
            f"--policy {name!r}: no such policy{nearest(name, BUILT_IN)}; "
            f"give {', '.join(BUILT_IN)} or package.module:Class"
        )
    try:
        module = importlib.import_module(module_name)
    except (ImportError, TypeError) as error:
        raise UsageError(f"--policy {name}: cannot import {module_name!r}: {error}") from None
    policy = getattr(module, class_name, None)
    if policy is None:
        classes = [k for k, v in vars(module).items() if isinstance(v, type)]
        raise UsageError(
            f"--policy {name}: {module_name} has no {class_name!r}{nearest(class_name, classes)}"
        )
    lacking = [part for part in ("traits", "act", "settle") if not hasattr(policy, part)]
    if lacking:
        raise UsageError(f"--policy {name}: {class_name} lacks {', '.join(lacking)}")
    return policy  # type: ignore[no-any-return]


def checked_action(
    policy: Policy, given: Any, columns: Sequence[str], roster: Roster, tick: int
) -> Float:
    """The action that `policy` gave for the agents of a roster, where it is one.

    Raises:
        RunError: it has another shape, or holds what is not finite or out of the market's range.
    """
    expected, name = (
        (len(roster), len(columns)),
        f"{type(policy).__module__}:{type(policy).__qualname__}",
    )
    try:
        action = np.asarray(given, dtype=np.float64)
        shape = f"of shape {action.shape}"
    except (TypeError, ValueError):
        action, shape = np.zeros(0), "that is not numbers"
    if action.shape != expected:
        raise RunError(
            f"policy {name} gave an action {shape} for {roster.kind} at tick {tick}, "
            f"expected shape {expected} (agents, {columns})"
        )
    limit = MAX_PRICE_MILLI / MILLI_PER_UNIT
    bad = ~(np.abs(action) <= limit)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise RunError(
            f"policy {name} gave {columns[column]} = {action[row, column]} for agent "
            f"{roster.ids[row]!r} at tick {tick}; actions must be finite and within the market's "
            "price range"
        )
    return action
