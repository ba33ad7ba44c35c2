"""Wall-clock time of an emergency alert on Ray, from the call to the last acknowledgement.

    python benchmarks/emergency.py [--agents 100] [--alerts 500] [--one-each] [--json FILE]

Three states of the hosts of `price_spike`: idle, stepping (an alert leaves right behind each step)
and computing (steps that take a second of pure Python, which holds the interpreter; alerts all the
while). Beside them, in the same session, a bare no-op call to as many actors: the floor. With
`--one-each` every agent has an actor of its own, and hosts do not compute: a hundred such processes
would measure the scheduler of the operating system.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from swarm.agents.policy import Heuristic
from swarm.agents.view import View
from swarm.loop import simulate
from swarm.messages import Alert, Float
from swarm.runtime.local_ray import prepare
from swarm.runtime.packing import contiguous, even, pack
from swarm.runtime.setup import Plan, plan
from swarm.scenario.load import load_scenario
from swarm.world.world import build_world

ALL_CLEAR = Alert(tick=0, active=False)
"""In force at once, and changes nothing."""
BYTES = 10
COMPUTING_SECONDS = 1.0
ALERTS_PER_STEP = 25
"""Fewer than a computing host acknowledges in a second."""
WARM_UP = 20
SHORTEST_RUN = 288


class Computing(Heuristic):
    """The heuristic after a second of pure Python."""

    def act(self, state: Any, view: View) -> Float:
        """See `Policy`."""
        deadline = time.monotonic() + COMPUTING_SECONDS
        while time.monotonic() < deadline:
            pass
        return super().act(state, view)


class Sounding:
    """An engine that sounds alerts while its hosts step: one a step, or for `seconds` of each."""

    def __init__(self, engine: Any, seconds: float) -> None:
        self._engine, self._seconds = engine, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def gather(self) -> Sequence[Any]:
        """See `Engine`."""
        deadline = time.monotonic() + self._seconds
        self._engine.alert(ALL_CLEAR)
        while time.monotonic() < deadline:
            self._engine.alert(ALL_CLEAR)
        replies: Sequence[Any] = self._engine.gather()
        return replies


class Nowhere:
    """A sink that keeps nothing."""

    def write(self, record: Any, operated: Any) -> None:
        """See `Sink`."""


def bare(actors: int, calls: int) -> list[float]:
    """Seconds of each round of one no-op call to each of `actors` actors."""
    import ray

    from swarm.runtime.ray.calls import ACTOR_OPTIONS

    class Bare:
        def call(self, data: bytes) -> bytes:
            return data

    remote = ray.remote(Bare).options(**ACTOR_OPTIONS, enable_task_events=False)
    handles = [remote.remote() for _ in range(actors)]
    rounds = []
    for _ in range(WARM_UP + calls):
        begin = time.perf_counter()
        ray.get([handle.call.remote(bytes(BYTES)) for handle in handles])
        rounds.append(time.perf_counter() - begin)
    for handle in handles:
        ray.kill(handle)
    return rounds[WARM_UP:]


def computing(agents: Plan) -> Plan:
    """With the first shard computing: one in every host, as each has a share of every kind."""
    first = replace(agents.shards[0], policy=f"{Path(__file__).stem}:Computing")
    return replace(agents, shards=(first, *agents.shards[1:]))


def sounding(engine: Any, ticks: int, seconds: float) -> list[float]:
    """Seconds of each alert sounded while `engine` runs `ticks` ticks."""
    before = len(engine.alert_seconds)
    simulate(Sounding(engine, seconds), ticks, Nowhere(), lambda cleared, operated: None)
    alerts: list[float] = engine.alert_seconds[before:]
    return alerts


def told(mode: str, hosts: int, seconds: list[float]) -> dict[str, Any]:
    """The figures of a mode, which are also shown."""
    p50, p99 = (1000 * float(np.percentile(seconds, share)) for share in (50, 99))
    row = {
        "mode": mode,
        "hosts": hosts,
        "alerts": len(seconds),
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": 1000 * max(seconds),
    }
    click.echo(
        f"{mode:10} {hosts:4} actors  {len(seconds):5} alerts  p50 {p50:8.2f}  p99 {p99:8.2f}  "
        f"max {row['max_ms']:8.2f} ms"
    )
    return row


@click.command()
@click.option("--agents", default=100, show_default=True)
@click.option("--alerts", default=500, show_default=True, help="Of each mode, at least.")
@click.option("--one-each", is_flag=True, help="Every agent has an actor of its own.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write JSON here.")
def main(agents: int, alerts: int, one_each: bool, json_file: Path | None) -> None:
    """Measure alerts to idle, stepping and computing hosts, and bare calls."""
    prepare(None)
    from swarm.runtime.ray.cluster import Cluster

    length = f"ticks={max(SHORTEST_RUN, alerts)}"
    scenario = load_scenario("price_spike", agents=agents, sets=(length,)).scenario
    ready = plan(build_world(scenario, None), "heuristic")
    cluster = Cluster(None)
    count = None if one_each else cluster.hosts_for(ready.agents)

    def start(given: Plan) -> Any:
        hosts = contiguous(given, 1) if count is None else even(given, count)
        return cluster.engine(*pack(given, hosts), hosts, lambda up, wanted: None)

    actors = agents if count is None else count
    rows = [told("bare call", actors, bare(actors, alerts))]
    engine = start(ready)
    for _ in range(WARM_UP + alerts):
        engine.alert(ALL_CLEAR)
    rows.append(told("idle", actors, engine.alert_seconds[WARM_UP:]))
    rows.append(told("stepping", actors, sounding(engine, alerts, 0.0)))
    if count is not None:
        engine = start(computing(ready))
        steps = -(-alerts // ALERTS_PER_STEP)
        rows.append(told("computing", actors, sounding(engine, steps, COMPUTING_SECONDS)))
    cluster.close()
    floor = rows[0]["p50_ms"]
    click.echo(", ".join(f"{row['mode']} {row['p50_ms'] / floor:.2f}x bare" for row in rows[1:]))
    if json_file is not None:
        machine = {"cpus": os.cpu_count(), "platform": platform.platform()}
        answer = {"machine": machine, "agents": agents, "modes": rows}
        json_file.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
