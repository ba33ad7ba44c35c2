"""Which agents share a host: shards cut from a plan and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from swarm.agents.shard import ShardSpec, cut
from swarm.grid.operator import OperatorSpec
from swarm.market.auction import MarketSpec
from swarm.runtime.setup import Plan
from swarm.trust.holder import BLOCK


def pack(agents: Plan, hosts: tuple[tuple[ShardSpec, ...], ...]) -> tuple[MarketSpec, OperatorSpec]:
    """The specs of market and operator for agents packed onto `hosts`."""
    index = tuple(
        np.concatenate([np.arange(s.roster.first, s.roster.first + len(s.roster)) for s in specs])
        for specs in hosts
    )
    signers = tuple(agents.public_keys[host[0]] for host in index) if agents.public_keys else ()
    market = replace(agents.market, host_agents=index, signers=signers)
    return market, replace(agents.operator, host_agents=index)


def contiguous(agents: Plan, per_host: int) -> tuple[tuple[ShardSpec, ...], ...]:
    """Hosts of `per_host` agents each in global order; one may hold parts of several kinds."""
    hosts = []
    for start in range(0, agents.agents, per_host):
        hosts.append(_between(agents, start, start + per_host))
    return tuple(host for host in hosts if host)


def described(specs: Sequence[ShardSpec]) -> str:
    """A host by what it carries."""
    return ", ".join(f"{len(spec.roster)} {spec.roster.kind}" for spec in specs)


def aligned(agents: Plan, cut_at: int, n: int) -> int:
    """Where the n agents of a kind are cut: between blocks that one signature binds."""
    if agents.signing is None or not agents.signing.per_shard or cut_at >= n:
        return cut_at
    return cut_at // BLOCK * BLOCK


def even(agents: Plan, hosts: int) -> tuple[tuple[ShardSpec, ...], ...]:
    """`hosts` hosts (fewer where there are fewer agents), each with an even share of every kind."""
    packed = []
    for host in range(hosts):
        parts = []
        for spec in agents.shards:
            n = len(spec.roster)
            start = aligned(agents, n * host // hosts, n)
            stop = aligned(agents, n * (host + 1) // hosts, n)
            if stop > start:
                parts.append(cut(spec, start, stop))
        if parts:
            packed.append(tuple(parts))
    return tuple(packed)


def _between(agents: Plan, start: int, stop: int) -> tuple[ShardSpec, ...]:
    parts = []
    for spec in agents.shards:
        first, n = spec.roster.first, len(spec.roster)
        low, high = (aligned(agents, min(max(at - first, 0), n), n) for at in (start, stop))
        if high > low:
            parts.append(cut(spec, low, high))
    return tuple(parts)
