"""The agents of one kind, as plain data: what a shard is made from, light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_COST_STEPS = 5
"""Most steps of a generator's cost curve."""


@dataclass(frozen=True)
class Roster:
    """All agents of one kind, ordered by id.

    Attributes:
        kind: the agent kind.
        first: global index of its first agent; kinds follow each other in alphabetical order.
        ids: agent ids.
        fleets: fleet name of each agent.
        assets: validated parameters of each agent, as plain dicts.
    """

    kind: str
    first: int
    ids: tuple[str, ...]
    fleets: tuple[str, ...]
    assets: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str, missing: float = np.nan) -> np.ndarray:
        """One numeric parameter of all agents, float64 (n,); `missing` stands for None."""
        values = (asset[name] for asset in self.assets)
        return np.array([missing if v is None else v for v in values], dtype=np.float64)
