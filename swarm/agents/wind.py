"""Wind farms: see `variable` for how they offer and run."""

from __future__ import annotations

from swarm.agents.variable import (
    ACTION,
    FLEXIBLE,
    SIDES,
    USES,
    Parameters,
    State,
    build,
    deliver,
    device,
    heuristic,
    offer,
    random,
    reserve,
    respond,
    series,
    start,
)

__all__ = [
    "ACTION",
    "FLEXIBLE",
    "SIDES",
    "USES",
    "Parameters",
    "State",
    "build",
    "deliver",
    "device",
    "heuristic",
    "offer",
    "random",
    "reserve",
    "respond",
    "series",
    "start",
]
