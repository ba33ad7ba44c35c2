"""The tick. The whole simulation is this loop; an engine only decides where its parts run.

One round trip per host and tick:

1. every host runs its devices through interval t-1 on the awards of t-1, and offers for t;
2. the market settles t-1 on what the meters say and clears the offers for t, while
3. the operator runs the grid through t-1 and makes the next signal;
4. the record of t-1 leaves for the results.

Two closing steps after the last tick settle what is open. Where agents learn during a run, they
do so between ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np

from swarm.grid.balance import Operated
from swarm.market.record import Cleared, TickRecord
from swarm.messages import Alert, Signal

CLOSING_STEPS = 2


class Engine(Protocol):
    """Where shards, market and operator run. Replies and notices are opaque to the loop."""

    def first_signal(self) -> Signal:
        """The operator's signal for tick 0."""

    def send(self, signal: Signal, notices: Sequence[Any] | None) -> None:
        """Start the step of every host; notices in host order, None at the first tick."""

    def gather(self) -> Sequence[Any]:
        """Wait for every host; one reply each, in host order."""

    def close(self, tick: int, last: Cleared | None, replies: Sequence[Any]) -> Closed:
        """Operate `tick - 1`, then clear `tick`; `last` is the clearing of `tick - 1`."""

    def alert(self, alert: Alert) -> None:
        """Call every host on its emergency lane; returns when all have acknowledged."""

    def fetch(self, record: Any) -> TickRecord:
        """The record behind a handle."""


@dataclass(frozen=True)
class Closed:
    """What market and operator made of the replies: a notice per host, a handle of the record."""

    cleared: Cleared
    operated: Operated
    notices: Sequence[Any]
    record: Any


@dataclass(frozen=True)
class Boundary:
    """Where a run stands between two ticks, with all that the loop itself remembers.

    Attributes:
        tick: that was cleared last.
        signal: for the next.
        closed: what was made of its replies; its record is not written yet.
    """

    tick: int
    signal: Signal
    closed: Closed


class Sink(Protocol):
    """Takes what each tick gave."""

    def write(self, record: TickRecord, operated: Operated) -> None:
        """Take the settled record and the physics of one tick; called in order of ticks."""


Watcher = Callable[[Cleared, Operated], None]


def steps(
    engine: Engine, ticks: int, sink: Sink, watch: Watcher, since: Boundary | None = None
) -> Iterator[Boundary]:
    """Run `ticks` ticks on `engine`, writing each to `sink` and showing it to `watch`.

    Args:
        engine: where the parts run.
        ticks: of the whole run.
        sink: takes what each tick gave.
        watch: is shown each tick.
        since: where to go on, with an engine and a sink that stood there; None: from the start.

    Yields:
        Where the run stands after each tick, the closing steps too. What is done there happens
        between ticks: hosts are idle.
    """
    if since is None:
        first, signal, notices, closed = 0, engine.first_signal(), None, None
    else:
        first, signal, closed = since.tick + 1, since.signal, since.closed
        notices = closed.notices
    for tick in range(first, ticks + CLOSING_STEPS):
        engine.send(signal, notices)
        if closed is not None and closed.operated.balance is not None:
            # Results leave while the hosts work.
            sink.write(engine.fetch(closed.record), closed.operated)
        replies = engine.gather()
        closed = engine.close(tick, None if closed is None else closed.cleared, replies)
        cleared, notices = closed.cleared, closed.notices
        price = np.nan if cleared.price_milli is None else cleared.price_milli / 1000
        signal = msgspec.structs.replace(closed.operated.signal, price_per_mwh=price)
        if closed.operated.alert is not None:
            engine.alert(closed.operated.alert)
        watch(cleared, closed.operated)
        yield Boundary(tick, signal, closed)


def simulate(engine: Engine, ticks: int, sink: Sink, watch: Watcher) -> None:
    """Run to the end, see `steps`."""
    for _ in steps(engine, ticks, sink, watch):
        pass
