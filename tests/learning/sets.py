"""Sets of policies that nobody trained: drawn at random, or that always do the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from swarm.agents.observation import VECTORS
from swarm.learning import networks
from swarm.learning.files import SPECS, PolicySet, save_policies
from swarm.learning.networks import Weights
from swarm.learning.team import Member, Settings, Team, TeamSpec


def drawn(agents: Mapping[str, int], seed: int = 1) -> PolicySet:
    """As many policies of each kind as it has agents, as new learners start."""
    members = tuple(Member(kind, 0, count) for kind, count in agents.items())
    return Team(TeamSpec(Settings(), seed, members)).policies()


def one_each(seed: int = 1) -> PolicySet:
    """One policy for every kind."""
    return drawn(dict.fromkeys(sorted(VECTORS), 1), seed)


def saved(folder: Path, policies: PolicySet) -> str:
    """Put them where runs find them; the SHA-256."""
    return save_policies(folder, policies, {"kinds": {}})


def always(network: str, *outputs: float) -> Weights:
    """A network that gives, whatever it sees, `tanh` of each of these, or of a generator these."""
    spec = SPECS[network]
    weights = {
        name: np.zeros((1, *shape), dtype=np.float32)
        for name, shape in networks.shapes(spec).items()
    }
    weights[f"layer{spec.layers - 1}.bias"][0] = outputs
    if network == "storage":
        weights["log_std"] = np.full((1, 1), -1.0, dtype=np.float32)
    return weights


def level(wanted: int) -> Weights:
    """A generator's network that always finds this level best."""
    return always("generator", *(float(at == wanted) for at in range(20)))
