"""The Ray engine: hosts, market and operator as Ray actors. The only module that imports ray.

Small replies travel as bytes through the driver, which never decodes them; large ones as object
references straight from host to market, where the driver's copy would cost more than the object
store (measured: from about 100 KB a host). Task events are off: they cost a third of a tick.

A host answers alerts in a thread of its own, the emergency lane, so that an alert overtakes a step
that is under way. Steps stay one after the other: they have one thread between them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from swarm.agents.policy import Learned
from swarm.agents.shard import ShardSpec
from swarm.errors import RunError, SwarmError, UsageError
from swarm.grid.balance import Operated
from swarm.grid.operator import OperatorSpec
from swarm.loop import Closed
from swarm.market.auction import MarketSpec
from swarm.market.negotiation import Answer, Call
from swarm.market.record import Cleared, TickRecord
from swarm.messages import (
    Acknowledgement,
    Alert,
    Drawn,
    Signal,
    decode,
    encode,
)
from swarm.post import Parcel
from swarm.runtime.actors import HostActor, LearnerActor, MarketActor, OperatorActor
from swarm.runtime.bargain import Bargain
from swarm.runtime.exchange import Exchange, HostFacts, framed, trust_timings, unframed
from swarm.runtime.local_ray import no_cluster, probe, uninterrupted
from swarm.runtime.packing import described
from swarm.runtime.worlds import Here, Lived, Opening

if TYPE_CHECKING:
    from swarm.learning.files import PolicySet
    from swarm.learning.team import TeamSpec

REFERENCE_FROM_AGENTS = 400
"""Agents per host from which replies travel as references: about 250 bytes an agent and tick."""
ACTORS_PER_CPU = 4
ACTOR_OPTIONS = {"num_cpus": 0.01, "max_restarts": 0, "max_task_retries": 0}
EMERGENCY = "emergency"

Started = Callable[[int, int], None]


class _HostActor(HostActor):
    """With Ray's lanes: alerts run beside a step."""

    alert = ray.method(concurrency_group=EMERGENCY)(HostActor.alert)

    def ready(self) -> tuple[str, int]:
        """Answers once the host exists, with its node's id and its process id."""
        return ray.get_runtime_context().get_node_id(), os.getpid()


class Cluster:
    """A connection to Ray: to a running cluster, to the one this process already uses, or local."""

    def __init__(self, address: str | None) -> None:
        """Connect, or start Ray on this machine (loopback, no dashboard) where `address` is None.

        Raises:
            UsageError: where no cluster answers at `address`.
        """
        self._actors: list[Any] = []
        self.owned = not ray.is_initialized()
        if not self.owned:
            return
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address is not None:
            probe(address)
            try:
                with uninterrupted():
                    ray.init(address=address, **quiet)
            except (ConnectionError, RuntimeError, ValueError, RayError) as error:
                raise UsageError(no_cluster(address, str(error).splitlines()[0])) from None
            return
        try:
            with uninterrupted():
                ray.init(address="local", include_dashboard=False, **quiet)
        except Exception as error:
            self.close()
            raise RunError(
                f"Ray did not start on this machine: {error}\n"
                "hint: `swarm doctor` checks Ray; `--engine inline` runs without it"
            ) from None

    @property
    def cpus(self) -> int:
        """CPUs of the cluster, at least 1."""
        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    def facts(self) -> dict[str, Any]:
        """What it is, for `swarm doctor`."""
        nodes = sum(node["Alive"] for node in ray.nodes())
        return {"version": ray.__version__, "cpus": self.cpus, "nodes": nodes}

    def hosts_for(self, agents: int) -> int | None:
        """Hosts that `agents_per_actor: auto` means; None: every agent gets its own actor."""
        return None if agents <= ACTORS_PER_CPU * self.cpus else self.cpus

    def engine(
        self,
        market: MarketSpec,
        operator: OperatorSpec,
        hosts: Sequence[Sequence[ShardSpec]],
        started: Started,
    ) -> RayEngine:
        """An engine on this cluster; its actors end when the cluster is closed."""
        return RayEngine(market, operator, hosts, started, self._actors)

    def end_actors(self) -> None:
        """End the actors of all engines started so far."""
        with uninterrupted():
            self._kill()

    def close(self) -> None:
        """End the actors, disconnect, and stop Ray where it was started here."""
        with uninterrupted():
            self._kill()
            if self.owned and ray.is_initialized():
                ray.shutdown()

    def _kill(self) -> None:
        for actor in self._actors:
            with contextlib.suppress(Exception):
                ray.kill(actor)
        self._actors = []


class RayEngine:
    """Runs each host, the market and the operator in an actor of its own.

    Attributes:
        placements: node id and process id of each host.
        alert_seconds: wall-clock time of each alert, from the call to the last acknowledgement.
        bargain: the rounds of negotiations.
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
        with _translated():
            self._market = _actor(MarketActor).remote(market)
            self._operator = _actor(OperatorActor).remote(operator)
            owner += [self._market, self._operator]
            lanes = ray.remote(concurrency_groups={EMERGENCY: 1})
            host = _actor(_HostActor, lanes, scheduling_strategy="SPREAD")
            for at, specs in enumerate(hosts):
                self._actors.append(host.remote(tuple(specs), f"host-{at}", sys.path))
                owner.append(self._actors[-1])
            self.placements = _wait([actor.ready.remote() for actor in self._actors], started)
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

    def start_learning(self, spec: TeamSpec) -> None:
        """Start the learner's actor; agents act on what the plan gave until `learn` is called."""
        with _translated():
            self._learner = _actor(LearnerActor).remote(spec)
            self._owner.append(self._learner)

    def learn(self, last: bool) -> dict[str, float]:
        """As of the inline engine; experience and weights go from actor to actor."""
        lived = [actor.experience.remote() for actor in self._actors]
        with _translated(self._names, lived):
            learn = self._learner.learn.options(num_returns=2)
            learned, told = learn.remote(last, *lived, self._operator.experience.remote())
            ray.get([each.take.remote(learned) for each in (*self._actors, self._operator)])
            return ray.get(told)  # type: ignore[no-any-return]

    def policies(self) -> PolicySet:
        """What was learned so far."""
        with _translated():
            return ray.get(self._learner.policies.remote())  # type: ignore[no-any-return]

    def first_signal(self) -> Signal:
        """The operator's signal for tick 0."""
        with _translated():
            return decode(ray.get(self._operate(-1, None, ())[0]), Operated).signal

    def send(self, signal: Signal, notices: Sequence[Any] | None) -> None:
        """Start the step of every host."""
        told = [None] * len(self._actors) if notices is None else notices
        data, exchange = encode(signal), self._exchange
        self._posted, self._pending = [], []
        for at, (actor, notice) in enumerate(zip(self._actors, told, strict=True)):
            parcel = exchange.step(at, signal.tick, notice is not None)
            self._posted.append(parcel)
            call = actor.step.remote(encode(parcel), data, notice, exchange.arrived[at])
            self._pending.append(call)

    def gather(self) -> Sequence[Any]:
        """Replies of all hosts: bytes, or references the driver never opens."""
        if self._by_reference:
            return self._pending
        with _translated(self._names, self._pending):
            replies: list[bytes] = ray.get(self._pending)
        return replies

    def close(self, tick: int, last: Cleared | None, replies: Sequence[Any]) -> Closed:
        """Operate `tick - 1`, then clear `tick`; what the operator tells the market goes there."""
        parts = 2 + len(self._actors)
        with _translated(self._names, self._pending):
            operating, drawn = self._operate(tick, last, replies)
            agreed: bytes | None = None
            answers: list[bytes] = []
            if self.bargain.wanted and tick < self._ticks:
                agreed, answers = self._negotiate(tick, drawn, replies)
            if self._by_reference:
                clear = self._market.clear.options(num_returns=parts)
                cleared, record, *notices = clear.remote(tick, drawn, agreed, answers, *replies)
                operated, told = ray.get([operating, cleared])
            else:
                clearing = self._market.clear.remote(tick, drawn, agreed, answers, *replies)
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
            actor.answer.remote(framed(parcel))
            for actor, parcel in zip(self._actors, parcels, strict=True)
        ]
        with _translated(self._names, pending):
            self._answers = ray.get(pending)
        for at, parcel in enumerate(parcels):
            self._exchange.answered(at, parcel)
        return [unframed(answer, Answer).body for answer in self._answers]

    def _operate(self, tick: int, last: Cleared | None, replies: Sequence[Any]) -> list[Any]:
        """References to what everybody and what the market is told."""
        cleared = None if last is None else encode(last)
        operate = self._operator.operate.options(num_returns=2)
        told: list[Any] = operate.remote(tick, cleared, *replies)
        return told

    def alert(self, alert: Alert) -> None:
        """Call every host on its emergency lane; returns when all have acknowledged.

        Raises:
            RunError: where a host is dead or acknowledges something else. No call is repeated.
        """
        begin = time.perf_counter()
        parcels = [self._exchange.alert(at, alert) for at in range(len(self._actors))]
        calls = [
            actor.alert.remote(framed(parcel))
            for actor, parcel in zip(self._actors, parcels, strict=True)
        ]
        with _translated(self._names, calls):
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
        with _translated(self._names, calls):
            hosts: list[HostFacts] = ray.get(calls)
            market: float = ray.get(self._market.trust_seconds.remote())
        return {
            "messages": self._exchange.messages(hosts),
            "trust": trust_timings(hosts, market),
        }

    def fetch(self, record: Any) -> TickRecord:
        """The record behind a handle."""
        with _translated():
            data: bytes = ray.get(record) if self._by_reference else record
        return decode(data, TickRecord)


class RayWorlds:
    """Worlds of a training, each in an actor of its own; see `swarm.runtime.worlds.Worlds`."""

    def __init__(self) -> None:
        self._cluster = Cluster(None)
        self._worlds: list[Any] = []

    def open(self, openings: Sequence[Opening], learned: Mapping[str, Learned]) -> None:
        """See `Worlds`."""
        with _translated():
            if len(self._worlds) != len(openings):
                spread = _actor(Here, scheduling_strategy="SPREAD")
                self._worlds = [spread.remote() for _ in openings]
            shared = ray.put(dict(learned))
            each = zip(self._worlds, openings, strict=True)
            ray.get([world.open.remote([opening], shared) for world, opening in each])

    def advance(self, learned: Mapping[str, Learned], ticks: int) -> list[Lived]:
        """See `Worlds`."""
        shared = ray.put(dict(learned))
        with _translated():
            lived = ray.get([world.advance.remote(shared, ticks) for world in self._worlds])
        return [found for (found,) in lived]

    def close(self) -> None:
        """End the actors, and Ray where it was started for them."""
        self._worlds = []
        self._cluster.close()


def _actor(plain: type, lanes: Callable[[type], Any] = ray.remote, **options: Any) -> Any:
    remote = lanes(plain)
    return remote.options(**ACTOR_OPTIONS, **options, enable_task_events=False)


def _wait(refs: list[Any], started: Started) -> list[tuple[str, int]]:
    waiting = list(refs)
    started(0, len(refs))
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1, timeout=1.0)
        if done:
            # A constructor that failed is told at once, not when all others are up.
            ray.get(done)
        started(len(refs) - len(waiting), len(refs))
    answers: list[tuple[str, int]] = ray.get(refs)
    return answers


@contextlib.contextmanager
def _translated(names: Sequence[str] = (), pending: Sequence[Any] = ()) -> Iterator[None]:
    """Turn Ray's errors into ours: our own from inside an actor, a dead actor into its name."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, SwarmError):
            raise error.cause from None
        raise RunError(f"a Ray actor failed:\n{error}") from error
    except RayActorError as error:
        dead = [name for name, ref in zip(names, pending, strict=False) if _failed(ref)]
        who = f"the host of {dead[0]}" if dead else "an actor"
        raise RunError(f"{who} died: {str(error).splitlines()[0]}") from error
    except RayError as error:
        raise RunError(f"Ray failed: {error}") from error


def _failed(ref: Any) -> bool:
    try:
        ray.get(ref, timeout=0)
    except RayActorError:
        return True
    except RayError:
        return False
    return False
