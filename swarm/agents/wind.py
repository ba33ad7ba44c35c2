"""Wind farms: see `variable` for how they offer and run."""

from __future__ import annotations

from swarm.agents.variable import (
    ACTION,
    SIDES,
    Parameters,
    State,
    build,
    deliver,
    heuristic,
    offer,
    random,
    series,
    start,
)

__all__ = [
    "ACTION",
    "SIDES",
    "Parameters",
    "State",
    "build",
    "deliver",
    "heuristic",
    "offer",
    "random",
    "series",
    "start",
]
