"""The inline engine: everything in this process. For tests, debugging and training rollouts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from swarm.agents.experience import Experience, together
from swarm.agents.host import Host
from swarm.agents.policy import Learned
from swarm.agents.shard import ShardSpec
from swarm.grid.operator import Operator, OperatorSpec
from swarm.loop import Boundary, Closed
from swarm.market.auction import MarketSpec
from swarm.market.auctioneer import Market
from swarm.market.negotiation import Answer, Call
from swarm.market.record import Agreed, Cleared, TickRecord
from swarm.messages import Alert, Notice, Signal, StepReply, decode, encode
from swarm.runtime.bargain import Bargain
from swarm.runtime.exchange import Exchange, HostDesk, Told, trust_timings
from swarm.runtime.kept import host_part, kept_loop, loop_of
from swarm.runtime.setup import of_operator
from swarm.snapshot import capture, pack, restore, unpack
from swarm.telemetry.caller import Below, Sent
from swarm.telemetry.tracing import Trace, Untraced

if TYPE_CHECKING:
    from swarm.learning.files import PolicySet
    from swarm.learning.team import Team, TeamSpec


class InlineEngine:
    """Runs hosts one after the other; with several hosts it shows what packing changes: nothing.

    Attributes:
        alert_seconds: wall-clock time of each alert, from the call to the last acknowledgement.
        bargain: the rounds of negotiations.
        trace: says in which span calls are made.
    """

    def __init__(
        self, market: MarketSpec, operator: OperatorSpec, hosts: Sequence[Sequence[ShardSpec]]
    ) -> None:
        self.hosts = [Host(specs) for specs in hosts]
        self.market = Market(market)
        self.operator = Operator(operator)
        self.bargain = Bargain(market, self._call)
        self._desks = [HostDesk(host, f"host-{at}") for at, host in enumerate(self.hosts)]
        self._exchange = Exchange([len(agents) for agents in market.host_agents])
        self._replies: list[StepReply] = []
        self.alert_seconds: list[float] = []
        self._team: Team | None = None
        self.trace: Trace = Untraced()
        self._below = Below("inline")

    def start_learning(self, spec: TeamSpec) -> None:
        """Have the agents learn; they act with what the plan gave them until `learn` is called."""
        from swarm.learning.team import Team

        self._team = Team(spec)

    def learn(self, last: bool) -> dict[str, float]:
        """Learn from what was lived through since the last call, and act on that; see `Team`."""
        assert self._team is not None
        with self._below.span("update", self.trace.caller()):
            figures = self._team.learn([self.experience()], last)
        self.take(self._team.learned(self._team.exploration()))
        return figures

    def policies(self) -> PolicySet:
        """What was learned so far."""
        assert self._team is not None
        return self._team.policies()

    def experience(self) -> dict[str, dict[str, Experience]]:
        """What the agents of each kind that learns lived through since the last call."""
        found = together([host.experience() for host in self.hosts])
        if self.operator.learns:
            found["operator"] = {"operator": self.operator.experience()}
        return found

    def take(
        self, learned: Mapping[str, Learned], preference: tuple[float, ...] | None = None
    ) -> None:
        """Let agents act with this from now on, and the operator under a preference."""
        for host in self.hosts:
            host.take(learned)
        mind = of_operator(learned.get("operator"), preference)
        if self.operator.learns and mind is not None:
            self.operator.take(mind)

    def first_signal(self) -> Signal:
        """The operator's signal for tick 0."""
        operated, _ = self.operator.operate(-1, None, ())
        return operated.signal

    def send(self, signal: Signal, notices: Sequence[Notice] | None) -> None:
        """Step every host."""
        self._replies, caller = [], self.trace.caller()
        for at, desk in enumerate(self._desks):
            notice = None if notices is None else notices[at]
            parcel = self._exchange.step(at, signal.tick, notice is not None)
            told = Told(signal, notice, self._exchange.arrived[at])
            with self._below.span("shard step", caller):
                answer = desk.handle(msgspec.structs.replace(parcel, body=told))
            self._exchange.answered(at, parcel)
            self._replies.append(answer.body)

    def gather(self) -> Sequence[StepReply]:
        """The replies of the hosts."""
        return self._replies

    def close(self, tick: int, last: Cleared | None, replies: Sequence[StepReply]) -> Closed:
        """Operate `tick - 1`, then clear `tick`."""
        caller = self.trace.caller()
        with self._below.span("operate", caller):
            operated, drawn = self.operator.operate(tick, last, replies)
        agreed: Agreed | None = None
        answers: Sequence[Answer] = ()
        if self.bargain.wanted and tick < len(self.market.spec.price_cap):
            bought = self.market.buy_reserve(tick, replies, drawn)
            agreed, answers = self.bargain.run(tick, drawn.connected, bought)
        with self._below.span("clear", caller) as span:
            cleared, record, notices = self.market.clear(tick, replies, drawn, agreed, answers)
            self._below.past(span, "contract", self.market.sealing_ns)
        return Closed(cleared, operated, notices, record)

    def _call(self, calls: Sequence[Call]) -> Sequence[Answer]:
        answers = []
        for at, (desk, call) in enumerate(zip(self._desks, calls, strict=True)):
            parcel = self._exchange.call(at, call)
            with self._below.span("shard answer", self.trace.caller()):
                answers.append(desk.handle(parcel).body)
            self._exchange.answered(at, parcel)
        return answers

    def alert(self, alert: Alert) -> None:
        """Call every host; returns when all have acknowledged."""
        begin = time.perf_counter()
        for at, desk in enumerate(self._desks):
            parcel = self._exchange.alert(at, alert)
            with self._below.span("shard alert", self.trace.caller()):
                desk.alert(parcel)
            self._exchange.answered(at, parcel)
        self.alert_seconds.append(time.perf_counter() - begin)

    def facts(self) -> dict[str, Any]:
        """Messages by lane and fate, and what signing took, so far."""
        arrived = self._exchange.arrived
        hosts = [desk.facts(arrived[at]) for at, desk in enumerate(self._desks)]
        return {
            "messages": self._exchange.messages(hosts),
            "trust": trust_timings(hosts, self.market.trust_seconds),
        }

    def capture(self, at: Boundary) -> dict[str, bytes]:
        """The state of all parts between two ticks, by name."""
        held: dict[str, Any] = {"market": self.market, "operator": self.operator}
        held |= {host_part(index): host for index, host in enumerate(self.hosts)}
        parts = {name: pack(capture(part)) for name, part in held.items()}
        if self._team is not None:
            parts["learner"] = pack(self._team.state())
        settled = at.closed.record
        record = b"" if settled is None else encode(settled)
        notices = [encode(notice) for notice in at.closed.notices]
        return parts | kept_loop(at, record, notices, self.bargain)

    def restore(self, parts: Mapping[str, bytes]) -> Boundary:
        """Stand where `capture` was called, in an engine as it was made."""
        restore(self.market, unpack(parts["market"]))
        restore(self.operator, unpack(parts["operator"]))
        for index, host in enumerate(self.hosts):
            restore(host, unpack(parts[host_part(index)]))
        if self._team is not None:
            self._team.load(unpack(parts["learner"]))
        at, record, notices = loop_of(parts, self.bargain)
        told = [decode(notice, Notice) for notice in notices]
        settled = decode(record, TickRecord) if record else None
        return replace(at, closed=replace(at.closed, notices=told, record=settled))

    def processes(self) -> list[int]:
        """None but this one."""
        return []

    def flush_traces(self) -> list[Sent | None]:
        """Send the spans of its parts."""
        return [self._below.flush()]

    def fetch(self, record: TickRecord) -> TickRecord:
        """The record itself."""
        return record
