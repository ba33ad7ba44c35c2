"""Parcels over Ray: lanes are concurrency groups, and a killed receiver leaves no open count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from swarm.messages import decode, encode
from swarm.post import (
    Inbox,
    Kind,
    Lane,
    Outbox,
    Parcel,
    Part,
    Reason,
    Receipt,
    Topic,
    unpack,
)

BUSY_SECONDS = 1.5
ROOM = {Lane.EMERGENCY: 5, Lane.MARKET: 30, Lane.TELEMETRY: 30}
PLAIN = {
    Lane.EMERGENCY: (Topic.EMERGENCY, Kind.EMERGENCY_SIGNAL),
    Lane.MARKET: (Topic.OFFERS, Kind.GENERATION_BID),
    Lane.TELEMETRY: (Topic.STATUS, Kind.STATUS_UPDATE),
}


@pytest.fixture
def receiver(ray_cluster: str) -> Iterator[Any]:
    """An inbox in an actor; `put` of each lane has a concurrency group, and so a thread."""
    import ray

    # Ray sends a class made here by value: workers cannot import this module.
    class Receiver:
        def __init__(self) -> None:
            self.inbox = Inbox(["driver"], ROOM)
            self.handled: list[tuple[int, str]] = []

        @ray.method(concurrency_group="emergency")
        def emergency(self, data: bytes) -> bytes:
            return encode(self.inbox.put(unpack(data), tick=0))

        @ray.method(concurrency_group="market")
        def market(self, data: bytes) -> bytes:
            return encode(self.inbox.put(unpack(data), tick=0))

        @ray.method(concurrency_group="telemetry")
        def telemetry(self, data: bytes) -> bytes:
            return encode(self.inbox.put(unpack(data), tick=0))

        @ray.method(concurrency_group="market")
        def busy(self, seconds: float) -> None:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                sum(range(1000))

        def handle(self, parcels: int) -> list[tuple[int, str]]:
            """Take so many; all that was handled so far, as lane and body."""
            for _ in range(parcels):
                parcel = self.inbox.next()
                if parcel is not None:
                    self.handled.append((int(parcel.lane), parcel.body.decode()))
            return self.handled

        def delivered(self) -> list[int]:
            return [self.inbox.delivered("driver", lane) for lane in Lane]

    lanes = {lane.name.lower(): 1 for lane in Lane}
    actor = ray.remote(concurrency_groups=lanes)(Receiver).options(num_cpus=0.01).remote()
    ray.get(actor.delivered.remote())
    yield actor
    ray.kill(actor)


def call(actor: Any, parcel: Parcel) -> Any:
    return getattr(actor, parcel.lane.name.lower()).remote(encode(parcel))


def post(outbox: Outbox, lane: Lane, body: str, messages: int = 1) -> Parcel:
    return outbox.post(lane, 0, [Part(*PLAIN[lane], messages)], body.encode())


def adds_up(outbox: Outbox) -> bool:
    counts = [outbox.counts(lane) for lane in Lane]
    return all(c.sent == c.delivered + c.queued + c.refused for c in counts)


def test_emergency_overtakes_a_busy_market_lane(receiver: Any) -> None:
    import ray

    outbox = Outbox("driver")
    working = receiver.busy.remote(BUSY_SECONDS)
    behind = [call(receiver, post(outbox, Lane.MARKET, f"offer {n}")) for n in range(3)]
    begin = time.monotonic()
    calls = [call(receiver, post(outbox, Lane.EMERGENCY, f"alert {n}")) for n in range(3)]
    calls.append(call(receiver, post(outbox, Lane.TELEMETRY, "status")))
    answers = [decode(data, Receipt) for data in ray.get(calls)]
    assert time.monotonic() - begin < BUSY_SECONDS / 2
    assert all(answer.stands for answer in answers)
    assert ray.wait([working, *behind], num_returns=1, timeout=0)[0] == []
    ray.get(behind)
    handled = [body for _, body in ray.get(receiver.handle.remote(7))]
    alerts, offers = ([f"{what} {n}" for n in range(3)] for what in ("alert", "offer"))
    assert handled == [*alerts, *offers, "status"]


def test_bursts_into_a_small_inbox_arrive_once_and_in_order(receiver: Any) -> None:
    """Every call is made twice, calls of two lanes run beside each other, and most are refused."""
    import ray

    outbox = Outbox("driver")
    wanted = {lane: [f"{lane} {n}" for n in range(25)] for lane in (Lane.MARKET, Lane.TELEMETRY)}
    left = {lane: list(bodies) for lane, bodies in wanted.items()}
    reasons = set()
    for _ in range(40):
        calls = []
        for lane, bodies in left.items():
            for body in bodies[:8]:
                parcel = post(outbox, lane, body, 4 + len(body) % 3)
                call(receiver, parcel)
                calls.append((parcel, call(receiver, parcel)))
        for parcel, answer in calls:
            receipt = decode(ray.get(answer), Receipt)
            reasons.add(receipt.reason)
            outbox.receipt(receipt)
            if receipt.stands:
                left[parcel.lane].remove(parcel.body.decode())
            assert adds_up(outbox)
        ray.get(receiver.handle.remote(9))
        if not any(left.values()):
            break
    handled = ray.get(receiver.handle.remote(50))
    for lane, bodies in wanted.items():
        assert [body for of, body in handled if of == lane] == bodies
        outbox.delivered(lane, ray.get(receiver.delivered.remote())[lane])
        counts = outbox.counts(lane)
        assert counts.queued == 0
        assert counts.delivered == sum(4 + len(body) % 3 for body in bodies)
        assert counts.refused > 0
    assert {Reason.FULL, Reason.GAP, Reason.DUPLICATE} <= reasons
    assert adds_up(outbox)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05])
def test_a_killed_receiver_leaves_no_open_count(receiver: Any, seconds: float) -> None:
    import ray
    from ray.exceptions import RayActorError

    outbox = Outbox("driver")
    first = [call(receiver, post(outbox, Lane.MARKET, "early", 2)) for _ in range(3)]
    for data in ray.get(first):
        outbox.receipt(decode(data, Receipt))
    ray.get(receiver.handle.remote(2))
    outbox.delivered(Lane.MARKET, ray.get(receiver.delivered.remote())[Lane.MARKET])
    calls = [call(receiver, post(outbox, lane, "late")) for lane in list(Lane) * 60]
    time.sleep(seconds)
    ray.kill(receiver)
    for pending in calls:
        try:
            outbox.receipt(decode(ray.get(pending), Receipt))
        except RayActorError:
            continue
    assert adds_up(outbox)
    before = [outbox.counts(lane) for lane in Lane]
    assert outbox.lost() == sum(counts.queued for counts in before) > 0
    after = [outbox.counts(lane) for lane in Lane]
    assert [counts.queued for counts in after] == [0, 0, 0]
    assert after[Lane.MARKET].delivered == 4
    assert [counts.sent for counts in after] == [60, 66, 60]
    assert adds_up(outbox)
