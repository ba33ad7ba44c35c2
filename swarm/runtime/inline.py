"""The inline engine: everything in this process. For tests, debugging and training rollouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swarm.agents.shard import Host, ShardSpec
from swarm.grid.operator import Operated, Operator
from swarm.market.auctioneer import Cleared, Market
from swarm.messages import Notice, Signal, StepReply
from swarm.runtime.setup import Plan, pack


class InlineEngine:
    """Runs hosts one after the other; with several hosts it shows what packing changes: nothing."""

    def __init__(self, plan: Plan, hosts: Sequence[tuple[ShardSpec, ...]]) -> None:
        self.hosts = [Host(specs) for specs in hosts]
        self.market = Market(pack(plan, tuple(hosts)))
        self.operator = Operator(plan.operator)

    def first_signal(self) -> Signal:
        """The operator's signal for tick 0."""
        return self.operator.operate(-1, np.nan, ()).signal

    def step(self, signal: Signal, notices: Sequence[Notice] | None) -> Sequence[StepReply]:
        """Step every host."""
        told: Sequence[Notice | None] = notices or [None] * len(self.hosts)
        return [host.step(signal, notice) for host, notice in zip(self.hosts, told, strict=True)]

    def close(
        self, tick: int, last_price: float, replies: Sequence[StepReply]
    ) -> tuple[Cleared, Sequence[Notice], Operated]:
        """Clear `tick`, operate `tick - 1`."""
        cleared = self.market.clear(tick, replies)
        return cleared, cleared.notices, self.operator.operate(tick, last_price, replies)
