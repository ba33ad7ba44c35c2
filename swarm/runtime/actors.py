"""Hosts, market and operator behind bytes: what an actor holds, whatever runs it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from swarm import snapshot
from swarm.agents.experience import Experience, together
from swarm.agents.host import Host
from swarm.agents.policy import Learned
from swarm.agents.shard import ShardSpec
from swarm.grid.operator import Operator, OperatorSpec
from swarm.market.auction import MarketSpec
from swarm.market.auctioneer import Market
from swarm.market.negotiation import Answer, Call
from swarm.market.record import Agreed, Cleared
from swarm.messages import Alert, Drawn, Notice, Signal, StepReply, decode, encode
from swarm.post import unpack
from swarm.runtime.exchange import HostDesk, HostFacts, Told, framed, unframed
from swarm.runtime.setup import of_operator
from swarm.telemetry.caller import Below, Caller, Sent

if TYPE_CHECKING:
    from swarm.learning.files import PolicySet
    from swarm.learning.team import TeamSpec


class HostActor:
    """A `HostDesk` behind bytes."""

    def __init__(self, specs: Sequence[ShardSpec], name: str, path: Sequence[str]) -> None:
        sys.path += [entry for entry in path if entry not in sys.path]
        self._desk = HostDesk(Host(specs), name)
        self._below = Below(name)

    def step(
        self,
        head: bytes,
        signal: bytes,
        notice: bytes | None,
        delivered: int,
        caller: Caller | None = None,
    ) -> bytes:
        """See `Host.step`; the parcel's body comes apart, since hosts share the signal."""
        with self._below.span("shard step", caller):
            told = Told(
                decode(signal, Signal),
                None if notice is None else decode(notice, Notice),
                delivered,
            )
            parcel = msgspec.structs.replace(unpack(head), body=told)
            return framed(self._desk.handle(parcel))

    def answer(self, call: bytes, caller: Caller | None = None) -> bytes:
        """See `Host.answer`."""
        with self._below.span("shard answer", caller):
            return framed(self._desk.handle(unframed(call, Call)))

    def alert(self, alert: bytes, caller: Caller | None = None) -> bytes:
        """See `Host.alert`; may be called beside a step."""
        with self._below.span("shard alert", caller):
            return encode(self._desk.alert(unframed(alert, Alert)))

    def flush_traces(self) -> Sent | None:
        """See `Below.flush`."""
        return self._below.flush()

    def capture(self) -> bytes:
        """The state of its agents."""
        return snapshot.pack(snapshot.capture(self._desk.host))

    def restore(self, data: bytes) -> None:
        """Put it back, into a host as it was made."""
        snapshot.restore(self._desk.host, snapshot.unpack(data))

    def experience(self) -> dict[str, Mapping[str, Experience]]:
        """See `Host.experience`."""
        return self._desk.host.experience()

    def take(self, learned: Mapping[str, Learned]) -> None:
        """See `Host.take`."""
        self._desk.host.take(learned)

    def facts(self, delivered: int) -> HostFacts:
        """See `HostDesk.facts`."""
        return self._desk.facts(delivered)


class LearnerActor:
    """The team of a run; the only actor that loads torch."""

    def __init__(self, spec: TeamSpec) -> None:
        from swarm.learning.team import Team

        self._team = Team(spec)
        self._below = Below("learner")

    def learn(
        self, last: bool, caller: Caller | None, *hosts: Mapping[str, Mapping[str, Experience]]
    ) -> tuple[dict[str, Learned], dict[str, float]]:
        """See `Team.learn`; what agents act with from now on, and the figures."""
        with self._below.span("update", caller):
            # The operator's comes last, as if it were a host of its own.
            figures = self._team.learn([together(hosts)], last)
            return self._team.learned(self._team.exploration()), figures

    def flush_traces(self) -> Sent | None:
        """See `Below.flush`."""
        return self._below.flush()

    def policies(self) -> PolicySet:
        """See `Team.policies`."""
        return self._team.policies()

    def capture(self) -> bytes:
        """See `Team.state`."""
        return snapshot.pack(self._team.state())

    def restore(self, data: bytes) -> None:
        """See `Team.load`."""
        self._team.load(snapshot.unpack(data))


class MarketActor:
    """`Market` behind bytes: the clearing, the record, then one notice per host."""

    def __init__(self, spec: MarketSpec) -> None:
        self._market = Market(spec)
        self._below = Below("market")

    def flush_traces(self) -> Sent | None:
        """See `Below.flush`."""
        return self._below.flush()

    def capture(self) -> bytes:
        """The state of the market."""
        return snapshot.pack(snapshot.capture(self._market))

    def restore(self, data: bytes) -> None:
        """Put it back, into a market as it was made."""
        snapshot.restore(self._market, snapshot.unpack(data))

    def trust_seconds(self) -> float:
        """See `Market.trust_seconds`."""
        return self._market.trust_seconds

    def buy_reserve(self, tick: int, drawn: bytes, *replies: bytes) -> tuple[bytes, ...]:
        """See `Market.buy_reserve`; what was bought of each host's offers."""
        decoded = [_reply(reply) for reply in replies]
        bought = self._market.buy_reserve(tick, decoded, decode(drawn, Drawn))
        return tuple(bought_w.tobytes() for bought_w in bought)

    def clear(
        self,
        tick: int,
        drawn: bytes,
        agreed: bytes | None,
        answers: Sequence[bytes],
        caller: Caller | None,
        *replies: bytes,
    ) -> tuple[bytes, ...]:
        """See `Market.clear`."""
        with self._below.span("clear", caller) as span:
            cleared, record, notices = self._market.clear(
                tick,
                [_reply(reply) for reply in replies],
                decode(drawn, Drawn),
                None if agreed is None else decode(agreed, Agreed),
                [unframed(answer, Answer).body for answer in answers],
            )
            self._below.past(span, "contract", self._market.sealing_ns)
            written = b"" if record is None else encode(record)
            return (encode(cleared), written, *(encode(notice) for notice in notices))


def _reply(data: bytes) -> StepReply:
    reply: StepReply = unframed(data, StepReply).body
    return reply


class OperatorActor:
    """`Operator` behind bytes."""

    def __init__(self, spec: OperatorSpec) -> None:
        self._operator = Operator(spec)
        self._below = Below("operator")

    def flush_traces(self) -> Sent | None:
        """See `Below.flush`."""
        return self._below.flush()

    def capture(self) -> bytes:
        """The state of the operator."""
        return snapshot.pack(snapshot.capture(self._operator))

    def restore(self, data: bytes) -> None:
        """Put it back, into an operator as it was made."""
        snapshot.restore(self._operator, snapshot.unpack(data))

    def experience(self) -> dict[str, dict[str, Experience]]:
        """See `Operator.experience`; empty where it does not learn."""
        if not self._operator.learns:
            return {}
        return {"operator": {"operator": self._operator.experience()}}

    def take(self, learned: Mapping[str, Learned]) -> None:
        """See `Operator.take`."""
        mind = of_operator(learned.get("operator"))
        if self._operator.learns and mind is not None:
            self._operator.take(mind)

    def operate(
        self, tick: int, last: bytes | None, caller: Caller | None, *replies: bytes
    ) -> tuple[bytes, bytes]:
        """See `Operator.operate`."""
        with self._below.span("operate", caller):
            cleared = None if last is None else decode(last, Cleared)
            decoded = [_reply(reply) for reply in replies]
            operated, drawn = self._operator.operate(tick, cleared, decoded)
            return encode(operated), encode(drawn)
