"""The tick's exchange as parcels in lanes: numbered, kept in order, handled once, counted.

A host's desk puts what comes into its inbox and takes it out for the host; the exchange (driver,
market and operator together) numbers what goes to each host and knows what became of it. A call
that is carried out twice is answered from memory the second time.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from swarm.agents.host import Host
from swarm.errors import RunError
from swarm.market.negotiation import Call
from swarm.messages import Acknowledgement, Alert, Notice, Signal, StepReply, decode, encode
from swarm.post import Counts, Inbox, Kind, Lane, Outbox, Parcel, Part, Reason, Topic, unpack

EXCHANGE = "exchange"
ROOM = 64
"""Messages for each agent that an inbox holds in a lane."""
GENERATES = ("generator", "solar", "storage", "wind")
"""Kinds whose offers are generation bids; those of the others are demand-response offers."""
Body = TypeVar("Body")


_LENGTH = struct.Struct("<I")


def framed(parcel: Parcel) -> bytes:
    """A parcel as bytes: the length of its head, the head, then its body."""
    head = encode(msgspec.structs.replace(parcel, body=None))
    return b"".join((_LENGTH.pack(len(head)), head, encode(parcel.body)))


def unframed(data: bytes, kind: type[Body]) -> Parcel:
    """The parcel in `framed` bytes, its body of type `kind`, read without a copy.

    Raises:
        msgspec.DecodeError: where it is none.
    """
    view = memoryview(data)
    start = _LENGTH.size + _LENGTH.unpack_from(view)[0]
    parcel = unpack(view[_LENGTH.size : start])
    return msgspec.structs.replace(parcel, body=decode(view[start:], kind))


class Told(msgspec.Struct, array_like=True, frozen=True):
    """What a host is told for a step."""

    signal: Signal
    notice: Notice | None
    delivered: int
    """Parcels of the host that have reached market and operator."""


@dataclass(frozen=True)
class HostFacts:
    """What a host knows of its run so far; none of it reaches the results.

    Attributes:
        lanes: what became of the messages it sent, by lane.
        signatures: made by its agents.
        checked: contracts checked.
        trust_seconds: processor time of both.
    """

    lanes: tuple[Counts, ...]
    signatures: int
    checked: int
    trust_seconds: float


class HostDesk:
    """A host behind its inbox and outbox. Alerts may come while a step runs."""

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self._agents = sum(len(shard.agents) for shard in host.shards)
        capacity = dict.fromkeys(Lane, ROOM * self._agents)
        self._inbox = Inbox([EXCHANGE], capacity)
        self._outbox = Outbox(name)
        self._answered: tuple[int, Parcel] | None = None

    def handle(self, parcel: Parcel) -> Parcel:
        """Handle what came in the market lane once, and answer; again, the same answer.

        Raises:
            RunError: where the parcel is not taken.
        """
        receipt = self._inbox.put(parcel, parcel.tick)
        if receipt.reason is Reason.DUPLICATE and self._answered is not None:
            number, answer = self._answered
            if number == parcel.number:
                return answer
        if receipt.reason is not None:
            raise RunError(f"{self._outbox.sender} refused a parcel: {receipt.detail}")
        taken = self._inbox.take(Lane.MARKET)
        assert taken is not None
        answer = self._handle(taken)
        self._answered = taken.number, answer
        return answer

    def _handle(self, parcel: Parcel) -> Parcel:
        body = parcel.body
        if isinstance(body, Told):
            self._outbox.delivered(Lane.MARKET, body.delivered)
            reply = self.host.step(body.signal, body.notice)
            return self._outbox.post(Lane.MARKET, parcel.tick, self._parts(reply), reply)
        assert isinstance(body, Call)
        answer = self.host.answer(body)
        part = Part(Topic.OFFERS, Kind.DEMAND_RESPONSE_OFFER, max(1, answer.sums.answered))
        return self._outbox.post(Lane.MARKET, parcel.tick, [part], answer)

    def _parts(self, reply: StepReply) -> list[Part]:
        plants = 0
        for shard in self.host.shards:
            if shard.spec.roster.kind in GENERATES:
                plants += shard.sent.rows[0]
        offers = len(reply.orders.side)
        plants = min(plants, offers)
        return [
            Part(Topic.OFFERS, Kind.GENERATION_BID, plants),
            Part(Topic.OFFERS, Kind.DEMAND_RESPONSE_OFFER, offers - plants),
            Part(Topic.FORECAST, Kind.STATUS_UPDATE, self._agents if offers else 0),
            Part(Topic.STATUS, Kind.STATUS_UPDATE, self._agents),
        ]

    def alert(self, parcel: Parcel) -> Acknowledgement:
        """Take an emergency call; the set points stand when it returns.

        Raises:
            RunError: where the parcel is not taken.
        """
        receipt = self._inbox.put(parcel, parcel.tick)
        taken = self._inbox.take(Lane.EMERGENCY)
        if receipt.reason is not None or taken is None:
            raise RunError(f"{self._outbox.sender} refused an alert: {receipt.detail}")
        assert isinstance(taken.body, Alert)
        return self.host.alert(taken.body)

    def facts(self, delivered: int) -> HostFacts:
        """The host's facts, `delivered` parcels of which have arrived."""
        self._outbox.delivered(Lane.MARKET, delivered)
        holders = [shard.holder for shard in self.host.shards if shard.holder is not None]
        return HostFacts(
            tuple(self._outbox.counts(lane) for lane in Lane),
            sum(holder.signatures for holder in holders),
            sum(holder.checked for holder in holders),
            sum(holder.seconds for holder in holders),
        )


class Exchange:
    """What goes to each host, and what became of it."""

    def __init__(self, agents: Sequence[int]) -> None:
        """`agents` is the number of agents of each host."""
        self._agents = agents
        self._out = [Outbox(EXCHANGE) for _ in agents]
        self.arrived = [0 for _ in agents]
        """Parcels of each host that have reached market and operator."""

    def step(self, host: int, tick: int, awards: bool) -> Parcel:
        """The parcel of a step; its body comes apart."""
        n = self._agents[host]
        parts = [
            Part(Topic.PRICE, Kind.PRICE_UPDATE, n),
            Part(Topic.FORECAST, Kind.PRICE_UPDATE, n),
            Part(Topic.AWARDS, Kind.DISPATCH_INSTRUCTION, n if awards else 0),
        ]
        return self._out[host].post(Lane.MARKET, tick, parts, None)

    def call(self, host: int, call: Call) -> Parcel:
        """The parcel of a called price."""
        part = Part(Topic.PRICE, Kind.PRICE_UPDATE, self._agents[host])
        return self._out[host].post(Lane.MARKET, call.tick, [part], call)

    def alert(self, host: int, alert: Alert) -> Parcel:
        """The parcel of an emergency call."""
        part = Part(Topic.EMERGENCY, Kind.EMERGENCY_SIGNAL, self._agents[host])
        return self._out[host].post(Lane.EMERGENCY, alert.tick, [part], alert)

    def answered(self, host: int, parcel: Parcel) -> None:
        """The host has handled a parcel; in the market lane its answer has arrived."""
        self._out[host].delivered(parcel.lane, parcel.number + 1)
        if parcel.lane is Lane.MARKET:
            self.arrived[host] += 1

    def messages(self, hosts: Sequence[HostFacts]) -> dict[str, dict[str, int]]:
        """Messages by lane and fate, both ways, in all."""
        found = {}
        for lane in Lane:
            parts = [outbox.counts(lane) for outbox in self._out]
            parts += [host.lanes[lane] for host in hosts]
            found[lane.name.lower()] = {
                fate: sum(getattr(part, fate) for part in parts)
                for fate in ("sent", "delivered", "queued", "refused")
            }
        return found


def trust_timings(hosts: Sequence[HostFacts], market_seconds: float) -> dict[str, float] | None:
    """Signatures, checks and their processor time in all; None where nothing is signed."""
    checked = sum(host.checked for host in hosts)
    if not checked:
        return None
    seconds = sum(host.trust_seconds for host in hosts)
    return {
        "signatures": sum(host.signatures for host in hosts),
        "contracts_checked": checked,
        "host_seconds": round(seconds, 6),
        "market_seconds": round(market_seconds, 6),
        "us_per_contract": round(1e6 * (seconds + market_seconds) / checked, 1),
    }
