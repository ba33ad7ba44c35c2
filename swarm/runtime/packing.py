"""Which agents share a host: shards cut from a plan and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from swarm.agents.policy import of_rows
from swarm.agents.shard import ShardSpec
from swarm.grid.operator import OperatorSpec
from swarm.market.auction import MarketSpec
from swarm.runtime.setup import Plan
from swarm.scenario.roster import Roster
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


def as_laid_out(
    agents: Plan, layout: Sequence[Sequence[tuple[str, int, int]]]
) -> tuple[tuple[ShardSpec, ...], ...]:
    """Hosts as a checkpoint has them.

    Args:
        agents: the run.
        layout: of each host its shards: kind, global index of the first agent, number of agents.
    """
    by_kind = {spec.roster.kind: spec for spec in agents.shards}
    hosts = []
    for host in layout:
        parts = []
        for kind, first, n in host:
            start = first - by_kind[kind].roster.first
            parts.append(cut(by_kind[kind], start, start + n))
        hosts.append(tuple(parts))
    return tuple(hosts)


def _between(agents: Plan, start: int, stop: int) -> tuple[ShardSpec, ...]:
    parts = []
    for spec in agents.shards:
        first, n = spec.roster.first, len(spec.roster)
        low, high = (aligned(agents, min(max(at - first, 0), n), n) for at in (start, stop))
        if high > low:
            parts.append(cut(spec, low, high))
    return tuple(parts)


def cut(spec: ShardSpec, start: int, stop: int) -> ShardSpec:
    """The part of a shard's spec with its agents `start` to `stop - 1`, counted in the shard."""
    roster = spec.roster
    part = Roster(
        roster.kind,
        roster.first + start,
        roster.ids[start:stop],
        roster.fleets[start:stop],
        roster.assets[start:stop],
    )
    series, columns = {}, {}
    for role, column in spec.columns.items():
        # Only the columns its agents use: what does not travel costs nothing.
        used, columns[role] = np.unique(column[start:stop], return_inverse=True)
        series[role] = np.ascontiguousarray(spec.series[role][:, used])
    learned = None if spec.learned is None else of_rows(spec.learned, start, stop)
    return replace(
        spec,
        roster=part,
        series=series,
        columns=columns,
        learned=learned,
        first_row=spec.first_row + start,
    )
