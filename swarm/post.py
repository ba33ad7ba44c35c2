"""How messages travel: batches in three lanes, bounded inboxes, exactly once, counted.

A batch is a `Parcel`; a message is one row in it (one agent's offer, award, status). A sender has
an `Outbox` for each receiver, which numbers what it sends and counts what became of it; a receiver
has one `Inbox`. The transport between them may carry out a call more than once, and gives the
sender the answer of the last time or none: at least once. The number makes it exactly once, and
the inbox takes numbers only in order, so that each sender's parcels stay in order in each lane
(go-back-n: Tanenbaum, Wetherall, Computer Networks, section 3.4).

Everything sent is delivered, queued or refused, and the sender knows which.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import msgspec

from swarm.errors import RunError
from swarm.messages import decode

VERSION = 1
"""Of `Parcel` and of the records it carries."""
MARKET_TURNS = 4
"""Market parcels that may go before a waiting telemetry parcel."""


class Kind(IntEnum):
    """What a message is."""

    GENERATION_BID = 0
    """An order or reserve offer of a plant."""
    DEMAND_RESPONSE_OFFER = 1
    """An order or reserve offer of somebody who consumes or stores."""
    DISPATCH_INSTRUCTION = 2
    """What was awarded, what was drawn, what was settled."""
    STATUS_UPDATE = 3
    """What devices or grid did; an acknowledgement."""
    PRICE_UPDATE = 4
    """A price, also an expected one; why somebody did not clear."""
    EMERGENCY_SIGNAL = 5


class Lane(IntEnum):
    """In order of urgency."""

    EMERGENCY = 0
    MARKET = 1
    TELEMETRY = 2


class Topic(StrEnum):
    """What a message is about; see `TOPICS`."""

    FORECAST = "grid/forecast"
    PRICE = "grid/price"
    EMERGENCY = "grid/emergency"
    OFFERS = "market/offers"
    AWARDS = "market/awards"
    STATUS = "agents/status"


TOPICS: Mapping[Topic, tuple[Lane, frozenset[Kind]]] = {
    Topic.FORECAST: (Lane.MARKET, frozenset({Kind.PRICE_UPDATE, Kind.STATUS_UPDATE})),
    Topic.PRICE: (Lane.MARKET, frozenset({Kind.PRICE_UPDATE})),
    Topic.EMERGENCY: (Lane.EMERGENCY, frozenset({Kind.EMERGENCY_SIGNAL, Kind.STATUS_UPDATE})),
    Topic.OFFERS: (Lane.MARKET, frozenset({Kind.GENERATION_BID, Kind.DEMAND_RESPONSE_OFFER})),
    Topic.AWARDS: (Lane.MARKET, frozenset({Kind.DISPATCH_INSTRUCTION, Kind.PRICE_UPDATE})),
    Topic.STATUS: (Lane.TELEMETRY, frozenset({Kind.STATUS_UPDATE})),
}
"""The lane of each topic, and the kinds it carries."""


class Part(msgspec.Struct, array_like=True, frozen=True):
    """How many messages of one topic and kind a parcel carries, one at least."""

    topic: Topic
    kind: Kind
    messages: int


class Head(msgspec.Struct, array_like=True, frozen=True):
    """What parcels of every version begin with. Sender, lane and number together are the id."""

    version: int
    lane: Lane
    sender: str
    number: int
    """From 0 without a gap, for each sender, receiver and lane."""


class Parcel(Head, array_like=True, frozen=True):
    """A batch of messages."""

    tick: int
    parts: tuple[Part, ...]
    """What it carries. Telemetry may ride along in the market lane; all else keeps its lane."""
    body: Any
    """The records: as they are within a process, encoded to bytes between processes."""

    @property
    def messages(self) -> int:
        """Messages in it."""
        return sum(part.messages for part in self.parts)


class Reason(StrEnum):
    """Why an inbox did not take a parcel; `Receipt.detail` says it in words."""

    FULL = "full"
    GAP = "gap"
    DUPLICATE = "duplicate"
    TOO_LARGE = "too large"
    VERSION = "version"
    MALFORMED = "malformed"
    SENDER = "sender"
    CLOSED = "closed"


class Receipt(msgspec.Struct, array_like=True, frozen=True):
    """An inbox's answer to a parcel."""

    lane: Lane
    number: int
    reason: Reason | None
    """None: it was taken into the queue."""
    detail: str
    retry_at_tick: int | None
    """First tick at which sending again makes sense; None: never, or no need."""
    expected: int
    """The number that is taken next."""
    delivered: int
    """All of this sender's parcels below this number have left for their handler."""

    @property
    def stands(self) -> bool:
        """The receiver took the parcel, from this sending or from one before."""
        return self.reason is None or self.reason is Reason.DUPLICATE


@dataclass(frozen=True)
class Counts:
    """Messages of one lane; `sent == delivered + queued + refused` at any time."""

    sent: int
    """Each sending counts: what was refused and is sent again counts again."""
    delivered: int
    """Known to have left the inbox for its handler."""
    queued: int
    """On the way, or in the inbox."""
    refused: int


def unpack(data: bytes | memoryview) -> Parcel:
    """The parcel in `data`, its body still bytes; one of another version has its head alone.

    Raises:
        msgspec.DecodeError: where `data` is no parcel.
    """
    head = decode(data, Head)
    if head.version != VERSION:
        return Parcel(head.version, head.lane, head.sender, head.number, 0, (), None)
    return decode(data, Parcel)


def _fault(lane: Lane, parts: Iterable[Part]) -> str | None:
    """What is wrong with a parcel of these parts in this lane."""
    messages = 0
    for part in parts:
        own, kinds = TOPICS[part.topic]
        if lane is not own and (lane, own) != (Lane.MARKET, Lane.TELEMETRY):
            return f"{part.topic} does not travel in the {lane.name.lower()} lane"
        if part.kind not in kinds:
            return f"{part.topic} does not carry {part.kind.name.lower()}"
        if part.messages < 1:
            return f"{part.messages} messages of {part.topic}, expected 1 or more"
        messages += part.messages
    return None if messages else "it carries no message"


@dataclass
class _Line:
    """One lane of an outbox."""

    sent: int = 0
    delivered: int = 0
    refused: int = 0
    waiting: dict[int, int] = field(default_factory=dict)
    """Messages of each parcel on the way or in the receiver's queue, by rising number."""
    gone: int = 0
    """Parcels known to be delivered: all numbers below this one."""

    @property
    def queued(self) -> int:
        return sum(self.waiting.values())

    @property
    def next_number(self) -> int:
        """Follows the last on the way; once none is, what was refused leaves its number free."""
        return max(self.gone, next(reversed(self.waiting), -1) + 1)


class Outbox:
    """Numbers what one sender sends to one receiver, and counts what became of it.

    A parcel whose call failed is sent again as it is: it still counts as queued, and a copy is
    dropped. What a receipt refused is posted again, or given up. One thread at a time may use a
    lane; lanes share nothing.
    """

    def __init__(self, sender: str) -> None:
        self.sender = sender
        self._lost = False
        self._lines = {lane: _Line() for lane in Lane}

    def post(self, lane: Lane, tick: int, parts: Iterable[Part], body: Any) -> Parcel:
        """A numbered parcel, counted as sent; parts without messages are left out.

        Raises:
            ValueError: where a part does not belong in the lane, or there is no message at all.
            RunError: where the receiver is lost.
        """
        if self._lost:
            raise RunError(f"{self.sender} sends to a receiver that is lost")
        carried = tuple(part for part in parts if part.messages != 0)
        fault = _fault(lane, carried)
        if fault is not None:
            raise ValueError(f"parcel of {self.sender} for tick {tick}: {fault}")
        line = self._lines[lane]
        parcel = Parcel(VERSION, lane, self.sender, line.next_number, tick, carried, body)
        line.waiting[parcel.number] = parcel.messages
        line.sent += parcel.messages
        return parcel

    def receipt(self, receipt: Receipt) -> None:
        """Count what the answer to one call says.

        Raises:
            ValueError: where more is said to be delivered than was sent.
        """
        self.delivered(receipt.lane, receipt.delivered)
        if not receipt.stands:
            line = self._lines[receipt.lane]
            line.refused += line.waiting.pop(receipt.number, 0)

    def delivered(self, lane: Lane, parcels: int) -> None:
        """The receiver's handler has all parcels of `lane` numbered below `parcels`.

        Raises:
            ValueError: where so many were not sent.
        """
        line = self._lines[lane]
        if parcels > line.next_number and not self._lost:
            raise ValueError(f"{parcels} parcels delivered, expected {line.next_number} at most")
        for number in [number for number in line.waiting if number < parcels]:
            line.delivered += line.waiting.pop(number)
        line.gone = max(line.gone, parcels)

    def lost(self) -> int:
        """The receiver is dead. What is not known to be delivered is refused: so many messages."""
        self._lost = True
        gone = sum(line.queued for line in self._lines.values())
        for line in self._lines.values():
            line.refused += line.queued
            line.waiting.clear()
        return gone

    def counts(self, lane: Lane) -> Counts:
        """What became of all messages sent in `lane`."""
        line = self._lines[lane]
        return Counts(line.sent, line.delivered, line.queued, line.refused)


@dataclass
class _Queue:
    """What one sender has waiting in one lane."""

    parcels: deque[Parcel] = field(default_factory=deque)
    messages: int = 0
    expected: int = 0

    @property
    def delivered(self) -> int:
        return self.expected - len(self.parcels)


class Inbox:
    """Parcels that wait for one receiver. Any thread may call any method.

    Each known sender has room of its own in each lane, and senders of a lane take turns, so none
    can crowd out another.
    """

    def __init__(self, senders: Iterable[str], capacity: Mapping[Lane, int]) -> None:
        """`capacity` of each lane is in messages, for each of `senders`.

        Raises:
            ValueError: where a lane has no capacity of 1 or more.
        """
        for lane in Lane:
            if capacity.get(lane, 0) < 1:
                raise ValueError(f"capacity {capacity.get(lane)} of {lane.name}, expected >= 1")
        self._capacity = dict(capacity)
        self._queues = {(name, lane): _Queue() for name in senders for lane in Lane}
        self._turns: dict[Lane, deque[str]] = {lane: deque() for lane in Lane}
        self._market_turns = 0
        self._closed = False
        self._lock = threading.Lock()

    def put(self, parcel: Parcel, tick: int) -> Receipt:
        """Take a parcel into its queue, or say why not; `tick` is the receiver's."""
        with self._lock:
            queue = self._queues.get((parcel.sender, parcel.lane), _Queue())
            refusal = self._refusal(parcel, queue)
            if refusal is None:
                if not queue.parcels:
                    self._turns[parcel.lane].append(parcel.sender)
                queue.parcels.append(parcel)
                queue.messages += parcel.messages
                queue.expected += 1
            reason, detail = refusal or (None, "")
            retry = {Reason.FULL: tick + 1, Reason.GAP: tick}.get(reason) if reason else None
            state = queue.expected, queue.delivered
            return Receipt(parcel.lane, parcel.number, reason, detail, retry, *state)

    def _refusal(self, parcel: Parcel, queue: _Queue) -> tuple[Reason, str] | None:
        if parcel.version != VERSION:
            return Reason.VERSION, f"version {parcel.version}, expected {VERSION}"
        if (parcel.sender, parcel.lane) not in self._queues:
            return Reason.SENDER, f"sender {parcel.sender!r} is not known here"
        if parcel.number < queue.expected:
            return Reason.DUPLICATE, f"number {parcel.number} was taken before"
        if self._closed:
            return Reason.CLOSED, "the receiver takes nothing any more"
        fault = _fault(parcel.lane, parcel.parts)
        if fault is not None:
            return Reason.MALFORMED, fault
        if parcel.number > queue.expected:
            return Reason.GAP, f"number {parcel.number}, expected {queue.expected}"
        capacity = self._capacity[parcel.lane]
        if parcel.messages > capacity:
            return Reason.TOO_LARGE, f"{parcel.messages} messages, never room for over {capacity}"
        if queue.messages + parcel.messages > capacity:
            room = capacity - queue.messages
            return Reason.FULL, f"{parcel.messages} messages, room for {room} of {capacity}"
        return None

    def take(self, lane: Lane) -> Parcel | None:
        """The next parcel of `lane` for its handler: senders take turns, each in its order."""
        with self._lock:
            return self._take(lane)

    def next(self) -> Parcel | None:
        """The next parcel of all lanes for its handler; None: all are empty.

        Emergency always goes first. After it market goes before telemetry, but after
        `MARKET_TURNS` market parcels a waiting telemetry parcel has its turn.
        """
        with self._lock:
            if self._turns[Lane.EMERGENCY]:
                return self._take(Lane.EMERGENCY)
            market, telemetry = self._turns[Lane.MARKET], self._turns[Lane.TELEMETRY]
            if market and not (telemetry and self._market_turns >= MARKET_TURNS):
                self._market_turns = self._market_turns + 1 if telemetry else 0
                return self._take(Lane.MARKET)
            self._market_turns = 0
            return self._take(Lane.TELEMETRY)

    def _take(self, lane: Lane) -> Parcel | None:
        turns = self._turns[lane]
        if not turns:
            return None
        sender = turns.popleft()
        queue = self._queues[sender, lane]
        parcel = queue.parcels.popleft()
        queue.messages -= parcel.messages
        if queue.parcels:
            turns.append(sender)
        return parcel

    def delivered(self, sender: str, lane: Lane) -> int:
        """For `Outbox.delivered`: parcels of a known sender that have left for their handler."""
        with self._lock:
            return self._queues[sender, lane].delivered

    def queued(self, lane: Lane) -> int:
        """Messages that wait in `lane`, of all senders."""
        with self._lock:
            return sum(queue.messages for (_, of), queue in self._queues.items() if of is lane)

    def close(self) -> None:
        """Accept nothing any more; what is queued can still be taken out."""
        with self._lock:
            self._closed = True
