"""A toy that is trained: numbers that wander by known rules, so that any step lost or done twice
shows in the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.learning import networks
from swarm.learning.files import SPECS, PolicySet
from swarm.rng import uniforms
from swarm.runtime.train_options import Options


class Wanderer:
    """Vehicles' weights that take a random step an episode, with a momentum that only `state` has.

    The score rises, falls and rises: `SCORES` by the number of episodes done.
    """

    SCORES = (0.0, 1.0, 3.0, 2.0, 2.5, 1.0, 0.5, 4.0, 3.0, 5.0, 6.0)

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.done, self.closed = seed, 0, False
        self.weights = networks.init(SPECS["storage"], seed, 0, 1)
        self.momentum = np.zeros(4)

    def episode(self, index: int) -> Mapping[str, float]:
        assert index == self.done, "an episode was left out or came twice"
        self.done += 1
        self.momentum = 0.9 * self.momentum + uniforms(self.seed, "wander", index, 0, 1)[0]
        for array, step in zip(self.weights.values(), self.momentum, strict=False):
            array += np.float32(step)
        figures = {"reward/ev": float(self.momentum[0]), "agent_steps": 100.0, "epsilon": 0.5}
        # As a loss, which is only there once there is enough to learn from.
        return figures if index < 3 else {**figures, "loss/ev": float(self.momentum[1])}

    def score(self) -> float:
        return self.SCORES[self.done]

    def policies(self) -> PolicySet:
        return {"ev": {"storage": {name: array.copy() for name, array in self.weights.items()}}}

    def state(self) -> dict[str, NDArray[Any]]:
        return {**self.weights, "momentum": self.momentum, "done": np.array([self.done])}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.weights = {name: state[name] for name in self.weights}
        self.momentum, self.done = state["momentum"], int(state["done"][0])

    def close(self) -> None:
        self.closed = True


def options(out: Path, **more: Any) -> Options:
    """Ten episodes with a checkpoint every three: the last one is at an odd place."""
    asked: dict[str, Any] = {
        "scenario": "toy",
        "seed": 0,
        "resolved": "name: toy\nseed: 0\n",
        "settings": {"worlds": 2, "kinds": ["ev"]},
        "episodes": 10,
        "every": 3,
        "out": out,
        "command": "swarm train --scenario toy --episodes 10",
    }
    return Options(**asked | more)
