"""How a run signs: its id, its keys, who signs for whom."""

from __future__ import annotations

import hashlib
from pathlib import Path

from swarm.errors import UsageError, nearest
from swarm.results.folder import version
from swarm.scenario.load import scenario_yaml
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario
from swarm.trust.holder import Signing, public_keys_of


def signing_of(
    scenario: Scenario, agents: tuple[Roster, ...], folder: Path | None
) -> tuple[Signing | None, tuple[bytes, ...]]:
    """How a run signs, and the public keys of all agents in global order, last the market's.

    Args:
        scenario: complete.
        agents: its agents by kind.
        folder: of keys; None: they are derived from the seed.

    Raises:
        UsageError: where a key cannot be used, a revoked agent does not exist, or something is
            asked for that needs signatures and there are none.
    """
    names = [name for roster in agents for name in roster.ids]
    mode, trust = scenario.trust.mode(len(names)), scenario.trust
    if mode == "none":
        for path, asked in (("shadow", trust.shadow), ("revoked", bool(trust.revoked))):
            if asked:
                raise UsageError(
                    f"trust.{path}: needs contracts, and trust.signatures is 'none'; "
                    "expected 'auto', 'per_agent' or 'per_shard'"
                )
        if folder is not None:
            raise UsageError(f"--keys {folder}: trust.signatures is 'none', so nothing is signed")
        return None, ()
    index = {name: at for at, name in enumerate(names)}
    for name in trust.revoked:
        if name not in index:
            raise UsageError(f"trust.revoked: no agent {name!r}{nearest(name, names)}")
    public_keys = public_keys_of(scenario.seed, folder, names)
    signing = Signing(
        run=run_id(scenario),
        seed=scenario.seed,
        market=public_keys[-1],
        per_shard=mode == "per_shard",
        folder=folder,
        revoked=tuple(sorted(index[name] for name in trust.revoked)),
        shadow=trust.shadow,
    )
    return signing, tuple(public_keys)


def run_id(scenario: Scenario) -> bytes:
    """The id inside contracts, 32 bytes: a hash of scenario, seed and version."""
    text = f"grid-swarm/1/run\0{version()}\n{scenario_yaml(scenario)}"
    return hashlib.sha256(text.encode()).digest()
