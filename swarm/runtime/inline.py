"""The inline engine: everything in this process. For tests, debugging and training rollouts."""

from __future__ import annotations

import time
from collections.abc import Sequence

from swarm.agents.shard import Host, ShardSpec
from swarm.grid.operator import Operator, OperatorSpec
from swarm.loop import Closed
from swarm.market.auctioneer import Cleared, Market, MarketSpec, TickRecord
from swarm.messages import Alert, Notice, Signal, StepReply


class InlineEngine:
    """Runs hosts one after the other; with several hosts it shows what packing changes: nothing.

    Attributes:
        alert_seconds: wall-clock time of each alert, from the call to the last acknowledgement.
    """

    def __init__(
        self, market: MarketSpec, operator: OperatorSpec, hosts: Sequence[Sequence[ShardSpec]]
    ) -> None:
        self.hosts = [Host(specs) for specs in hosts]
        self.market = Market(market)
        self.operator = Operator(operator)
        self._replies: list[StepReply] = []
        self.alert_seconds: list[float] = []

    def first_signal(self) -> Signal:
        """The operator's signal for tick 0."""
        operated, _ = self.operator.operate(-1, None, ())
        return operated.signal

    def send(self, signal: Signal, notices: Sequence[Notice] | None) -> None:
        """Step every host."""
        told: Sequence[Notice | None] = notices or [None] * len(self.hosts)
        self._replies = [
            host.step(signal, notice) for host, notice in zip(self.hosts, told, strict=True)
        ]

    def gather(self) -> Sequence[StepReply]:
        """The replies of the hosts."""
        return self._replies

    def close(self, tick: int, last: Cleared | None, replies: Sequence[StepReply]) -> Closed:
        """Operate `tick - 1`, then clear `tick`."""
        operated, drawn = self.operator.operate(tick, last, replies)
        cleared, record, notices = self.market.clear(tick, replies, drawn)
        return Closed(cleared, operated, notices, record)

    def alert(self, alert: Alert) -> None:
        """Call every host; returns when all have acknowledged."""
        begin = time.perf_counter()
        for host in self.hosts:
            host.alert(alert)
        self.alert_seconds.append(time.perf_counter() - begin)

    def fetch(self, record: TickRecord) -> TickRecord:
        """The record itself."""
        return record
