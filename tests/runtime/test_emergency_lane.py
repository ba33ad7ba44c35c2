"""The emergency lane: an alert overtakes a busy host, and changes nothing but what it says."""

from __future__ import annotations

import os
import signal as signals
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from swarm.agents.policy import Heuristic
from swarm.agents.shard import ShardSpec
from swarm.agents.view import View
from swarm.errors import RunError
from swarm.loop import Engine
from swarm.messages import Acknowledgement, Alert, Float, Notice, Signal, StepReply, encode
from swarm.runtime.exchange import unframed
from swarm.runtime.inline import InlineEngine
from swarm.runtime.packing import contiguous, even, pack
from swarm.runtime.setup import Plan, plan
from swarm.scenario.load import load_scenario
from swarm.world.world import build_world

AGENTS = 20
TICKS = 6
BUSY = {2: "sleeps", 3: "multiplies", 4: "counts"}
"""What the busy host does in a tick; multiplying lets go of the interpreter, counting does not."""
BUSY_SECONDS = 1.2
FAR = Alert(tick=100_000, active=True)
"""An alert that never comes into force."""


class Busy(Heuristic):
    """The heuristic, but long over some ticks."""

    def act(self, state: Any, view: View) -> Float:
        deadline, matrix = time.monotonic() + BUSY_SECONDS, np.full((300, 300), 0.5)
        while view.signal.tick in BUSY and time.monotonic() < deadline:
            match BUSY[view.signal.tick]:
                case "sleeps":
                    time.sleep(0.01)
                case "multiplies":
                    matrix = matrix @ matrix
                    matrix /= matrix.max()
                case "counts":
                    sum(range(1000))
        return super().act(state, view)


@pytest.fixture(scope="module")
def ready() -> Plan:
    scenario = load_scenario("price_spike", agents=AGENTS).scenario
    return plan(build_world(scenario, None), "heuristic")


@pytest.fixture(scope="module")
def engine_of(ray_cluster: str) -> Iterator[Any]:
    """Starts Ray engines; all end with the module."""
    from swarm.runtime.ray.cluster import Cluster

    cluster = Cluster(None)

    def start(agents: Plan, hosts: tuple[tuple[ShardSpec, ...], ...]) -> Any:
        return cluster.engine(*pack(agents, hosts), hosts, lambda ready, actors: None)

    yield start
    cluster.close()


@pytest.fixture(scope="module")
def alone(ready: Plan, engine_of: Any) -> Any:
    """An engine of one host that hands out its replies as references, before they are there."""
    import swarm.runtime.ray.engine as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "REFERENCE_FROM_AGENTS", 1)
        return engine_of(ready, contiguous(ready, AGENTS))


def inline(agents: Plan, per_host: int = AGENTS) -> InlineEngine:
    hosts = contiguous(agents, per_host)
    return InlineEngine(*pack(agents, hosts), hosts)


def busy(agents: Plan) -> Plan:
    """The plan with one shard whose policy takes long: its host is busy, the others wait."""
    shards = [replace(agents.shards[0], policy=f"{__name__}:Busy"), *agents.shards[1:]]
    return replace(agents, shards=tuple(shards))


def drive(engine: Engine, alerts: dict[int, Alert]) -> list[bytes]:
    """Run `TICKS` ticks, sounding each alert while the hosts step; what became of each tick.

    The signal says of the emergency what the alerts said.
    """
    signal, notices, last, told, emergency = engine.first_signal(), None, None, [], False
    for tick in range(TICKS):
        engine.send(signal, notices)
        if tick in alerts:
            engine.alert(alerts[tick])
            if alerts[tick].tick == tick + 1:
                emergency = alerts[tick].active
        closed = engine.close(tick, last, engine.gather())
        last, notices = closed.cleared, closed.notices
        told.append(encode(closed.cleared))
        if tick > 0:
            told.append(encode(engine.fetch(closed.record)))
        price = np.nan if last.price_milli is None else last.price_milli / 1000
        signal = msgspec.structs.replace(
            closed.operated.signal, price_per_mwh=price, emergency=emergency
        )
    return told


def test_an_alert_overtakes_a_busy_host_and_changes_nothing(ready: Plan, engine_of: Any) -> None:
    working = busy(ready)
    engine = engine_of(working, even(working, 2))
    begin = time.monotonic()
    told = drive(engine, dict.fromkeys(BUSY, FAR))
    assert time.monotonic() - begin >= BUSY_SECONDS * len(BUSY)
    assert len(engine.alert_seconds) == len(BUSY)
    assert max(engine.alert_seconds) < BUSY_SECONDS / 2
    assert told == drive(inline(ready), {})


def test_alerts_mean_the_same_in_any_packing(ready: Plan, engine_of: Any) -> None:
    alerts = {1: Alert(2, True), 3: Alert(4, False)}
    told = drive(inline(ready), alerts)
    assert drive(inline(ready, 3), alerts) == told
    assert drive(engine_of(ready, contiguous(ready, 7)), alerts) == told


def test_steps_keep_their_order_with_alerts_between(ready: Plan, alone: Any) -> None:
    import ray

    source = Recorder(inline(ready))
    drive(source, {})
    under_way = []
    for signal, notices in source.sent:
        alone.send(signal, None if notices is None else [encode(notice) for notice in notices])
        under_way += alone.gather()
        alone.alert(FAR)
    assert len(alone.alert_seconds) == TICKS
    replies = [encode(unframed(data, StepReply).body) for data in ray.get(under_way)]
    assert replies == [encode(reply) for reply in source.replies]


class Recorder:
    """An inline engine of one host that keeps what was sent to it and what it answered."""

    def __init__(self, engine: InlineEngine) -> None:
        self.engine = engine
        self.sent: list[tuple[Signal, Sequence[Notice] | None]] = []
        self.replies: list[StepReply] = []

    def send(self, signal: Signal, notices: Sequence[Notice] | None) -> None:
        self.sent.append((signal, notices))
        self.engine.send(signal, notices)
        self.replies += self.engine.gather()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def test_a_dead_host_is_named(ready: Plan, engine_of: Any) -> None:
    agents = replace(ready, shards=ready.shards[:3])
    engine = engine_of(agents, tuple((spec,) for spec in agents.shards))
    os.kill(engine.placements[1][1], signals.SIGKILL)
    roster = agents.shards[1].roster
    with pytest.raises(RunError, match=rf"the host of {len(roster)} {roster.kind} died"):
        engine.alert(FAR)
    assert engine.alert_seconds == []


def test_a_wrong_acknowledgement_is_refused(alone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import swarm.runtime.ray.engine as module

    monkeypatch.setattr(module, "decode", lambda data, kind: Acknowledgement(FAR.tick, AGENTS - 1))
    with pytest.raises(RunError, match=rf"answered .*{FAR.tick}.*agents={AGENTS - 1}"):
        alone.alert(FAR)
