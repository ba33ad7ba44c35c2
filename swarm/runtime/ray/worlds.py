"""Worlds of a training on Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray

from swarm.agents.policy import Learned
from swarm.runtime.ray.calls import actor_class, translated
from swarm.runtime.ray.cluster import Cluster
from swarm.runtime.worlds import Here, Lived, Opening


class RayWorlds:
    """Worlds of a training, each in an actor of its own; see `swarm.runtime.worlds.Worlds`."""

    def __init__(self) -> None:
        self._cluster = Cluster(None)
        self._worlds: list[Any] = []

    def open(self, openings: Sequence[Opening], learned: Mapping[str, Learned]) -> None:
        """See `Worlds`."""
        with translated():
            if len(self._worlds) != len(openings):
                spread = actor_class(Here, scheduling_strategy="SPREAD")
                self._worlds = [spread.remote() for _ in openings]
            shared = ray.put(dict(learned))
            each = zip(self._worlds, openings, strict=True)
            ray.get([world.open.remote([opening], shared) for world, opening in each])

    def advance(self, learned: Mapping[str, Learned], ticks: int) -> list[Lived]:
        """See `Worlds`."""
        shared = ray.put(dict(learned))
        with translated():
            lived = ray.get([world.advance.remote(shared, ticks) for world in self._worlds])
        return [found for (found,) in lived]

    def close(self) -> None:
        """End the actors, and Ray where it was started for them."""
        self._worlds = []
        self._cluster.close()
