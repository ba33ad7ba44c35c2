"""What agents lived through, as a learner takes it: decisions, rewards and what followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Experience:
    """k decisions in a row of n agents by one network.

    Attributes:
        tick: int64 (k,), of the decisions, rising by one.
        agent: int64 (n,), global indices, rising.
        observation: float32 (k, n, in), what each decision was made on.
        action: int64 (k, n), the level chosen, or float32 (k, n, actions), the action before the
            clip.
        log_prob: float32 (k, n), log density of `action` under the policy that acted; 0 where the
            learner does not ask for it.
        reward: float32 (k, n), or (k, n, objectives).
        next_observation: float32 (k, n, in), what the agent saw one tick later.
    """

    tick: Int
    agent: Int
    observation: Float32
    action: NDArray[Any]
    log_prob: Float32
    reward: Float32
    next_observation: Float32

    def __len__(self) -> int:
        return len(self.tick)


def joined(parts: Sequence[Experience]) -> Experience:
    """The experience of agents that were hosted apart, in the order of their global indices.

    Args:
        parts: one at least, all of the same ticks and of different agents.

    Raises:
        ValueError: they are not of the same ticks.
    """
    if any(not np.array_equal(part.tick, parts[0].tick) for part in parts):
        raise ValueError("experience of different ticks: expected the same ones of all hosts")
    agent = np.concatenate([part.agent for part in parts])
    order = np.argsort(agent)
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts], axis=1)[:, order]
        for field in fields(Experience)
        if field.name not in ("tick", "agent")
    }
    return Experience(parts[0].tick, agent[order], **columns)


def together(
    hosts: Sequence[Mapping[str, Mapping[str, Experience]]],
) -> dict[str, dict[str, Experience]]:
    """Experience of several hosts by kind and network, each in the order of global indices."""
    found: dict[str, dict[str, list[Experience]]] = {}
    for host in hosts:
        for kind, networks in host.items():
            for network, part in networks.items():
                found.setdefault(kind, {}).setdefault(network, []).append(part)
    return {
        kind: {network: joined(parts) for network, parts in networks.items()}
        for kind, networks in found.items()
    }
