"""The inline engine: everything in this process. For tests, debugging and training rollouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swarm.agents.shard import Host, ShardSpec
from swarm.grid.operator import Operator, OperatorSpec
from swarm.loop import Closed
from swarm.market.auctioneer import Market, MarketSpec, TickRecord
from swarm.messages import Notice, Signal, StepReply


class InlineEngine:
    """Runs hosts one after the other; with several hosts it shows what packing changes: nothing."""

    def __init__(
        self, market: MarketSpec, operator: OperatorSpec, hosts: Sequence[Sequence[ShardSpec]]
    ) -> None:
        self.hosts = [Host(specs) for specs in hosts]
        self.market = Market(market)
        self.operator = Operator(operator)
        self._replies: list[StepReply] = []

    def first_signal(self) -> Signal:
        """The operator's signal for tick 0."""
        return self.operator.operate(-1, np.nan, ()).signal

    def send(self, signal: Signal, notices: Sequence[Notice] | None) -> None:
        """Step every host."""
        told: Sequence[Notice | None] = notices or [None] * len(self.hosts)
        self._replies = [
            host.step(signal, notice) for host, notice in zip(self.hosts, told, strict=True)
        ]

    def gather(self) -> Sequence[StepReply]:
        """The replies of the hosts."""
        return self._replies

    def close(self, tick: int, last_price: float, replies: Sequence[StepReply]) -> Closed:
        """Clear `tick`, operate `tick - 1`."""
        cleared, record, notices = self.market.clear(tick, replies)
        operated = self.operator.operate(tick, last_price, replies)
        return Closed(cleared, operated, notices, record)

    def fetch(self, record: TickRecord) -> TickRecord:
        """The record itself."""
        return record
