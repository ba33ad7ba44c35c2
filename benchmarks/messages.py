"""Messages a second through Ray: the driver sends status rows to inboxes in two actors.

    python benchmarks/messages.py [--seconds 2] [--repetitions 5] [--json FILE]

A message is one agent's row of `Meters`. Each parcel is numbered, encoded, put into the inbox,
taken out of it, decoded to its table and summed, and its receipt comes back and is counted, with at
most `WINDOW` parcels a receiver under way. Beside it, in the same repetition, one bare Ray call for
each message: the same row encoded, decoded and summed, without parcel and inbox. A parcel of one
message shows what numbering and receipt cost.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

from swarm.messages import (
    FLOAT_METERS,
    METER_COLUMNS,
    Meters,
    Orders,
    StepReply,
    decode,
    encode,
)
from swarm.post import Inbox, Kind, Lane, Outbox, Part, Receipt, Topic, unpack
from swarm.runtime.local_ray import prepare

BATCHES = (1, 100, 1_000, 10_000)
RECEIVERS = 2
WINDOW = 16
"""Parcels or calls under way to each receiver."""
BARE = "bare call"
WARM_UP_SECONDS = 0.3


class Receiver:
    """An inbox and a handler that sums what agents delivered."""

    def __init__(self) -> None:
        self._inbox = Inbox(["driver"], dict.fromkeys(Lane, WINDOW * max(BATCHES)))
        self._watts = 0

    def put(self, data: bytes) -> bytes:
        """Take a parcel and handle what is in the inbox; the receipt is made before that."""
        receipt = self._inbox.put(unpack(data), tick=0)
        while (parcel := self._inbox.next()) is not None:
            self.bare(parcel.body)
        return encode(receipt)

    def bare(self, body: bytes) -> None:
        """Handle one encoded batch."""
        meters = decode(body, StepReply).meters
        assert meters is not None
        self._watts += int(meters.delivered_w.sum())

    def handled(self) -> tuple[int, int]:
        """Parcels taken out of the inbox, and the sum of watts, bare calls included."""
        return self._inbox.delivered("driver", Lane.TELEMETRY), self._watts


class Line:
    """The driver's side: an outbox and calls under way for each receiver."""

    def __init__(self, actors: list[Any], seed: int) -> None:
        rng = np.random.default_rng(seed)
        none = np.zeros(0, dtype=np.int64)
        no_orders = Orders(none.astype(np.int8), none, none, none)
        self._replies = {}
        for batch in BATCHES:
            columns = {name: rng.integers(0, 10**6, batch) for name in METER_COLUMNS}
            columns |= {name: columns[name].astype(np.float64) for name in FLOAT_METERS}
            self._replies[batch] = StepReply(0, no_orders, Meters(**columns))
        self._actors = actors
        self._outboxes = [Outbox("driver") for _ in actors]
        self.watts = 0

    def parcel(self, receiver: int, batch: int) -> Any:
        """Post, encode and send a parcel of `batch` messages."""
        part = Part(Topic.STATUS, Kind.STATUS_UPDATE, batch)
        body = encode(self._replies[batch])
        parcel = self._outboxes[receiver].post(Lane.TELEMETRY, 0, [part], body)
        return self._actors[receiver].put.remote(encode(parcel))

    def bare(self, receiver: int, batch: int) -> Any:
        """Encode and send one message without a parcel."""
        return self._actors[receiver].bare.remote(encode(self._replies[batch]))

    def rate(self, send: Callable[[int, int], Any], batch: int, seconds: float) -> float:
        """Messages a second, from the first call to the last answer."""
        import ray

        under_way: deque[tuple[int, Any]] = deque()
        begin, sent = time.perf_counter(), 0
        while time.perf_counter() < begin + seconds:
            # One answer is waited for when the window is full, the oldest.
            if len(under_way) == WINDOW * len(self._actors):
                self._answer(*under_way.popleft(), ray)
            receiver = sent % len(self._actors)
            under_way.append((receiver, send(receiver, batch)))
            sent += 1
        while under_way:
            self._answer(*under_way.popleft(), ray)
        taken = time.perf_counter() - begin
        self.watts += sent * int(self._replies[batch].meters.delivered_w.sum())
        return sent * batch / taken

    def _answer(self, receiver: int, call: Any, ray: Any) -> None:
        data = ray.get(call)
        if data is not None:
            receipt = decode(data, Receipt)
            assert receipt.stands, receipt.detail
            self._outboxes[receiver].receipt(receipt)

    def check(self, handled: list[tuple[int, int]]) -> int:
        """Messages sent in parcels, once all are known to be delivered and nothing is missing."""
        for outbox, (parcels, _) in zip(self._outboxes, handled, strict=True):
            outbox.delivered(Lane.TELEMETRY, parcels)
        counts = [outbox.counts(Lane.TELEMETRY) for outbox in self._outboxes]
        assert all(c.sent == c.delivered and c.queued == c.refused == 0 for c in counts), counts
        assert sum(watts for _, watts in handled) == self.watts
        return sum(c.sent for c in counts)


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--seconds", default=2.0, show_default=True, help="Of each measurement.")
@click.option("--repetitions", default=5, show_default=True, type=click.IntRange(min=3))
@click.option("--seed", default=0, show_default=True, help="Of the random rows.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
def main(seconds: float, repetitions: int, seed: int, json_file: Path | None) -> None:
    """Measure, print, and keep the figures."""
    prepare(None)
    import ray

    from swarm.runtime.ray.calls import ACTOR_OPTIONS
    from swarm.runtime.ray.cluster import Cluster

    cluster = Cluster(None)
    machine = facts(ray=ray.__version__, seed=seed, repetitions=repetitions, seconds=seconds)
    remote = ray.remote(Receiver).options(**ACTOR_OPTIONS, enable_task_events=False)
    actors = [remote.remote() for _ in range(RECEIVERS)]
    line = Line(actors, seed)
    cases = [(BARE, line.bare, 1), *((f"parcels of {n:,}", line.parcel, n) for n in BATCHES)]
    rates: dict[str, list[float]] = {name: [] for name, _, _ in cases}
    for _, send, batch in cases:
        line.rate(send, batch, WARM_UP_SECONDS)
    for _ in range(repetitions):
        for name, send, batch in cases:
            rates[name].append(line.rate(send, batch, seconds))
    total = line.check(ray.get([actor.handled.remote() for actor in actors]))
    cluster.close()
    click.echo("  ".join(f"{name} {value}" for name, value in machine.items()))
    click.echo(f"{'':<18} {'messages/s':>12} {'least':>12} {'most':>12} {'x bare':>8}")
    rows = []
    for name, _, batch in cases:
        ratio = [one / bare for one, bare in zip(rates[name], rates[BARE], strict=True)]
        row = {"case": name, "batch": batch}
        row |= {"per_second": spread(rates[name]), "x_bare": spread(ratio)}
        rows.append(row)
        figures = [f"{row['per_second'][key]:>12,.0f}" for key in ("median", "min", "max")]
        click.echo(f"{name:<18} {' '.join(figures)} {row['x_bare']['median']:>8.2f}")
    click.echo(f"{total:,} messages sent in parcels, all delivered, none twice")
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
