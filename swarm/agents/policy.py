"""Policies: from what the agents of a shard see to what they do, one array program for all of them.

An action is float64 (n, len(kind.ACTION)); the kind turns it into orders. Write your own as a
class with the methods of `Policy` and name it `--policy package.module:Class`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from swarm.agents.view import View
from swarm.errors import UsageError, nearest
from swarm.messages import Float, Int


@dataclass(frozen=True)
class Traits:
    """What a policy declares about itself; the contract test checks it."""

    stochastic: bool
    """Acts on `view.uniforms`; its actions change with the seed."""
    needs_training: bool
    has_memory: bool
    """Its actions depend on earlier calls."""


class Policy(Protocol):
    """Acts for the n agents of one shard. Row i must depend on agent i and the signal alone."""

    traits: Traits

    def __init__(self, kind: Any, parameters: Any) -> None:
        """Made once per shard from the kind's module and its `Parameters`."""

    def act(self, state: Any, view: View) -> Float:
        """The action of every agent, float64 (n, len(kind.ACTION)), finite."""

    def settle(self, tick: int, profit_micro: Int) -> None:
        """Told, two ticks after its offers for `tick`, what the interval paid, (n,)."""


class Heuristic:
    """The heuristic of the agent's kind."""

    traits = Traits(stochastic=False, needs_training=False, has_memory=False)

    def __init__(self, kind: Any, parameters: Any) -> None:
        self._kind, self._parameters = kind, parameters

    def act(self, state: Any, view: View) -> Float:
        """See the kind's `heuristic`."""
        action: Float = self._kind.heuristic(self._parameters, state, view)
        return action

    def settle(self, tick: int, profit_micro: Int) -> None:
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

    def settle(self, tick: int, profit_micro: Int) -> None:
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

    def settle(self, tick: int, profit_micro: Int) -> None:
        """Learns nothing."""


BUILT_IN: Mapping[str, type[Policy]] = {
    "heuristic": Heuristic,
    "random": Random,
    "passive": Passive,
}


def load_policy(name: str) -> type[Policy]:
    """The policy class called by a name in `BUILT_IN` or `package.module:Class`.

    Raises:
        UsageError: where there is no such policy, it cannot be imported or lacks a method.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise UsageError(
            f"--policy {name!r}: no such policy{nearest(name, BUILT_IN)}; "
            f"give {', '.join(BUILT_IN)} or package.module:Class"
        )
    try:
        module = importlib.import_module(module_name)
    except (ImportError, TypeError) as error:
        raise UsageError(f"--policy {name}: cannot import {module_name!r}: {error}") from None
    found = getattr(module, class_name, None)
    if found is None:
        classes = [k for k, v in vars(module).items() if isinstance(v, type)]
        raise UsageError(
            f"--policy {name}: {module_name} has no {class_name!r}{nearest(class_name, classes)}"
        )
    lacking = [part for part in ("traits", "act", "settle") if not hasattr(found, part)]
    if lacking:
        raise UsageError(f"--policy {name}: {class_name} lacks {', '.join(lacking)}")
    return found  # type: ignore[no-any-return]
