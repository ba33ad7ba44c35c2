"""Policies as a user writes them; the contract tests name them `package.module:Class`."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm.agents.policy import Settled, Traits
from swarm.agents.view import View


class Erratic:
    """Large and odd actions, as a badly trained network gives them; keeps what it is paid."""

    traits = Traits(stochastic=True, needs_training=False, has_memory=True)

    def __init__(self, kind: Any, parameters: Any) -> None:
        self.columns = len(kind.ACTION)
        self.settled: list[Settled] = []

    def act(self, state: Any, view: View) -> np.ndarray:
        u = view.uniforms[:, np.arange(self.columns) % 4]
        return (u - 0.5) * 10.0 ** np.arange(self.columns)

    def settle(self, settled: Settled) -> None:
        self.settled.append(settled)


class Still:
    """Does what zeros mean."""

    traits = Traits(stochastic=False, needs_training=False, has_memory=False)

    def __init__(self, kind: Any, parameters: Any) -> None:
        self.columns = len(kind.ACTION)

    def act(self, state: Any, view: View) -> np.ndarray:
        return np.zeros((len(view.uniforms), self.columns))

    def settle(self, settled: Settled) -> None:
        pass


class NotANumber(Still):
    """Gives NaN for its second agent in its second column."""

    def act(self, state: Any, view: View) -> np.ndarray:
        action = super().act(state, view)
        action[1, -1] = np.nan
        return action


class TooDear(Still):
    """Asks a price beyond what the market's grid carries."""

    def act(self, state: Any, view: View) -> np.ndarray:
        return super().act(state, view) + 1e12


class WrongShape(Still):
    """Forgets a column."""

    def act(self, state: Any, view: View) -> np.ndarray:
        return super().act(state, view)[:, :-1]


class Listed(Still):
    """Gives a list of rows, not an array."""

    def act(self, state: Any, view: View) -> Any:
        return super().act(state, view).tolist()


class Words(Still):
    """Gives words."""

    def act(self, state: Any, view: View) -> Any:
        return [["charge"] * self.columns] * len(view.uniforms)


class NoSettle:
    """Lacks `settle` and `traits`."""

    def act(self, state: Any, view: View) -> np.ndarray:
        return np.zeros((1, 1))
