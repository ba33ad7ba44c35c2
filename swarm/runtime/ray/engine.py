"""The Ray engine: hosts, market and operator as Ray actors.

Small replies travel as bytes through the driver, which never decodes them; large ones as object
references straight from host to market, where the driver's copy would cost more than the object
store (measured: from about 100 KB a host). Task events are off: they cost a third of a tick.

A host answers alerts in a thread of its own, the emergency lane, so that an alert overtakes a step
that is under way. Steps stay one after the other: they have one thread between them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from swarm.agents.shard import ShardSpec
from swarm.errors import RunError
from swarm.grid.balance import Operated
from swarm.grid.operator import OperatorSpec
from swarm.loop import Boundary, Closed
from swarm.market.auction import MarketSpec
from swarm.market.negotiation import Answer, Call
from swarm.market.record import Cleared, TickRecord
from swarm.messages import Acknowledgement, Alert, Drawn, Signal, decode, encode
from swarm.post import Parcel
from swarm.runtime.actors import HostActor, LearnerActor, MarketActor, OperatorActor
from swarm.runtime.bargain import Bargain
from swarm.runtime.exchange import Exchange, HostFacts, framed, trust_timings, unframed
from swarm.runtime.kept import host_part, kept_loop, loop_of
from swarm.runtime.packing import described
from swarm.runtime.ray.calls import Started, actor_class, translated, wait
from swarm.telemetry.caller import Sent
from swarm.telemetry.tracing import Trace, Untraced

if TYPE_CHECKING:
    from swarm.learning.files import PolicySet
    from swarm.learning.team import TeamSpec

REFERENCE_FROM_AGENTS = 400
"""Agents per host from which replies travel as references: about 250 bytes an agent and tick."""
EMERGENCY = "emergency"


class _HostActor(HostActor):
    """With Ray's lanes: alerts run beside a step."""

    alert = ray.method(concurrency_group=EMERGENCY)(HostActor.alert)

    def ready(self) -> tuple[str, int]:
        """Answers once the host exists, with its node's id and its process id."""
        return ray.get_runtime_context().get_node_id(), os.getpid()


class RayEngine:
    """Runs each host, the market and the operator in an actor of its own.

    Attributes:
        placements: node id and process id of each host.
        alert_seconds: wall-clock time of each alert, from the call to the last acknowledgement.
        bargain: the rounds of negotiations.
        trace: says in which span calls are made.
    """

    def __init__(
        self,
        market: MarketSpec,
        operator: OperatorSpec,
        hosts: Sequence[Sequence[ShardSpec]],
        started: Started,
        owner: list[Any],
    ) -> None:
        """Start the actors, telling `started(ready, all)` as they come up.

        Every actor is put into `owner` as soon as it exists, so that whoever ends the run can
        end them all, however far this got.
        """
        self._names = [described(specs) for specs in hosts]
        self._agents = [sum(len(spec.roster) for spec in specs) for specs in hosts]
        self._actors: list[Any] = []
        with translated():
            self._market = actor_class(MarketActor).remote(market)
            self._operator = actor_class(OperatorActor).remote(operator)
            owner += [self._market, self._operator]
            lanes = ray.remote(concurrency_groups={EMERGENCY: 1})
            host = actor_class(_HostActor, lanes, scheduling_strategy="SPREAD")
            for at, specs in enumerate(hosts):
                self._actors.append(host.remote(tuple(specs), f"host-{at}", sys.path))
                owner.append(self._actors[-1])
            self.placements = wait([actor.ready.remote() for actor in self._actors], started)
        largest = max((len(agents) for agents in market.host_agents), default=0)
        self._by_reference = largest >= REFERENCE_FROM_AGENTS
        self._exchange = Exchange(self._agents)
        self._posted: list[Parcel] = []
        self._pending: list[Any] = []
        self._answers: list[bytes] = []
        self._ticks = len(market.price_cap)
        self.bargain = Bargain(market, self._call)
        self.alert_seconds: list[float] = []
        self._owner = owner
        self._learner: Any = None
        self.trace: Trace = Untraced()

    def start_learning(self, spec: TeamSpec) -> None:
        """Start the learner's actor; agents act on what the plan gave until `learn` is called."""
        with translated():
            self._learner = actor_class(LearnerActor).remote(spec)
            self._owner.append(self._learner)

    def learn(self, last: bool) -> dict[str, float]:
        """As of the inline engine; experience and weights go from actor to actor."""
        lived = [actor.experience.remote() for actor in self._actors]
        with translated(self._names, lived):
            learn = self._learner.learn.options(num_returns=2)
            learned, told = learn.remote(
                last, self.trace.caller(), *lived, self._operator.experience.remote()
            )
            ray.get([each.take.remote(learned) for each in (*self._actors, self._operator)])
            return ray.get(told)  # type: ignore[no-any-return]

    def policies(self) -> PolicySet:
        """What was learned so far."""
        with translated():
            return ray.get(self._learner.policies.remote())  # type: ignore[no-any-return]

    def first_signal(self) -> Signal:
        """The operator's signal for tick 0."""
        with translated():
            return decode(ray.get(self._operate(-1, None, ())[0]), Operated).signal

    def send(self, signal: Signal, notices: Sequence[Any] | None) -> None:
        """Start the step of every host."""
        told = [None] * len(self._actors) if notices is None else notices
        data, exchange, caller = encode(signal), self._exchange, self.trace.caller()
        self._posted, self._pending = [], []
        for at, (actor, notice) in enumerate(zip(self._actors, told, strict=True)):
            parcel = exchange.step(at, signal.tick, notice is not None)
            self._posted.append(parcel)
            call = actor.step.remote(encode(parcel), data, notice, exchange.arrived[at], caller)
            self._pending.append(call)

    def gather(self) -> Sequence[Any]:
        """Replies of all hosts: bytes, or references the driver never opens."""
        if self._by_reference:
            return self._pending
        with translated(self._names, self._pending):
            replies: list[bytes] = ray.get(self._pending)
        return replies

    def close(self, tick: int, last: Cleared | None, replies: Sequence[Any]) -> Closed:
        """Operate `tick - 1`, then clear `tick`; what the operator tells the market goes there."""
        parts = 2 + len(self._actors)
        with translated(self._names, self._pending):
            operating, drawn = self._operate(tick, last, replies)
            agreed: bytes | None = None
            answers: list[bytes] = []
            if self.bargain.wanted and tick < self._ticks:
                agreed, answers = self._negotiate(tick, drawn, replies)
            if self._by_reference:
                clear = self._market.clear.options(num_returns=parts)
                cleared, record, *notices = clear.remote(
                    tick, drawn, agreed, answers, self.trace.caller(), *replies
                )
                operated, told = ray.get([operating, cleared])
            else:
                clearing = self._market.clear.remote(
                    tick, drawn, agreed, answers, self.trace.caller(), *replies
                )
                operated, (told, record, *notices) = ray.get([operating, clearing])
        for at, parcel in enumerate(self._posted):
            self._exchange.answered(at, parcel)
        return Closed(decode(told, Cleared), decode(operated, Operated), notices, record)

    def _negotiate(
        self, tick: int, drawn: Any, replies: Sequence[Any]
    ) -> tuple[bytes, list[bytes]]:
        """How prices were negotiated, and the answers to the final one, not decoded again."""
        bought: tuple[bytes, ...] = ray.get(self._market.buy_reserve.remote(tick, drawn, *replies))
        reserve_w = [np.frombuffer(data, "<i8") for data in bought]
        connected = decode(ray.get(drawn), Drawn).connected
        agreed, _ = self.bargain.run(tick, connected, reserve_w)
        return encode(agreed), self._answers

    def _call(self, calls: Sequence[Call]) -> list[Answer]:
        parcels = [self._exchange.call(at, call) for at, call in enumerate(calls)]
        pending = [
            actor.answer.remote(framed(parcel), self.trace.caller())
            for actor, parcel in zip(self._actors, parcels, strict=True)
        ]
        with translated(self._names, pending):
            self._answers = ray.get(pending)
        for at, parcel in enumerate(parcels):
            self._exchange.answered(at, parcel)
        return [unframed(answer, Answer).body for answer in self._answers]

    def _operate(self, tick: int, last: Cleared | None, replies: Sequence[Any]) -> list[Any]:
        """References to what everybody and what the market is told."""
        cleared = None if last is None else encode(last)
        operate = self._operator.operate.options(num_returns=2)
        told: list[Any] = operate.remote(tick, cleared, self.trace.caller(), *replies)
        return told

    def alert(self, alert: Alert) -> None:
        """Call every host on its emergency lane; returns when all have acknowledged.

        Raises:
            RunError: where a host is dead or acknowledges something else. No call is repeated.
        """
        begin = time.perf_counter()
        parcels = [self._exchange.alert(at, alert) for at in range(len(self._actors))]
        calls = [
            actor.alert.remote(framed(parcel), self.trace.caller())
            for actor, parcel in zip(self._actors, parcels, strict=True)
        ]
        with translated(self._names, calls):
            answers: list[bytes] = ray.get(calls)
        for at, parcel in enumerate(parcels):
            self._exchange.answered(at, parcel)
        for name, agents, answer in zip(self._names, self._agents, answers, strict=True):
            acknowledged = decode(answer, Acknowledgement)
            if acknowledged != Acknowledgement(alert.tick, agents):
                raise RunError(f"the host of {name} answered {alert} with {acknowledged}")
        self.alert_seconds.append(time.perf_counter() - begin)

    def facts(self) -> dict[str, Any]:
        """Messages by lane and fate, and what signing took, so far."""
        arrived = self._exchange.arrived
        calls = [actor.facts.remote(arrived[at]) for at, actor in enumerate(self._actors)]
        with translated(self._names, calls):
            hosts: list[HostFacts] = ray.get(calls)
            market: float = ray.get(self._market.trust_seconds.remote())
        return {
            "messages": self._exchange.messages(hosts),
            "trust": trust_timings(hosts, market),
        }

    def capture(self, at: Boundary) -> dict[str, bytes]:
        """The state of all parts between two ticks, by name."""
        held = self._parts()
        with translated():
            states: list[bytes] = ray.get([part.capture.remote() for part in held.values()])
            closed = at.closed
            record = ray.get(closed.record) if self._by_reference else closed.record
            notices = ray.get(closed.notices) if self._by_reference else list(closed.notices)
        return dict(zip(held, states, strict=True)) | kept_loop(at, record, notices, self.bargain)

    def restore(self, parts: Mapping[str, bytes]) -> Boundary:
        """Stand where `capture` was called, in an engine as it was made."""
        with translated():
            ray.get([part.restore.remote(parts[name]) for name, part in self._parts().items()])
            at, record, notices = loop_of(parts, self.bargain)
            kept = ray.put(record) if self._by_reference else record
        return replace(at, closed=replace(at.closed, notices=notices, record=kept))

    def _parts(self) -> dict[str, Any]:
        """Every actor by the name of its part in a checkpoint."""
        held = {"market": self._market, "operator": self._operator}
        held |= {host_part(index): actor for index, actor in enumerate(self._actors)}
        return held if self._learner is None else {**held, "learner": self._learner}

    def processes(self) -> list[int]:
        """Process ids of the hosts on this machine."""
        here = ray.get_runtime_context().get_node_id()
        return [process for node, process in self.placements if node == here]

    def flush_traces(self) -> list[Sent | None]:
        """Have every actor send the spans it still holds."""
        actors = [*self._actors, self._market, self._operator]
        actors += [] if self._learner is None else [self._learner]
        flushed: list[Sent | None] = ray.get([actor.flush_traces.remote() for actor in actors])
        return flushed

    def fetch(self, record: Any) -> TickRecord:
        """The record behind a handle."""
        with translated():
            data: bytes = ray.get(record) if self._by_reference else record
        return decode(data, TickRecord)
