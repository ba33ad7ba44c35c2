"""Start-up and speed of the engines on `price_spike`, beside bare Ray actors in the same session.

    python benchmarks/engines.py [--ticks 288] [--agents 100] [--repeat 1] [--json FILE]

Each mode reports seconds until the actors are up, seconds of ticking, and the digest, which must be
one. The bare figure is a no-op call to as many actors with as many bytes in and out, with the same
actor options, so its ratio to the tick is what the simulation adds.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import click

import swarm
from swarm.runtime.local_ray import prepare

BYTES_IN, BYTES_OUT = 700, 400


def bare_tick(actors: int, repeats: int) -> dict[str, float]:
    """Seconds to start `actors` no-op actors, and per round of one call to each."""
    import ray

    from swarm.runtime.ray.calls import ACTOR_OPTIONS

    class Bare:
        def call(self, data: bytes) -> bytes:
            return data[:BYTES_OUT]

    remote = ray.remote(Bare).options(**ACTOR_OPTIONS, enable_task_events=False)
    begin = time.perf_counter()
    handles = [remote.remote() for _ in range(actors)]
    data = bytes(BYTES_IN)
    ray.get([handle.call.remote(data) for handle in handles])
    started = time.perf_counter() - begin
    rounds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        ray.get([handle.call.remote(data) for handle in handles])
        rounds.append(time.perf_counter() - begin)
    for handle in handles:
        ray.kill(handle)
    return {"start_seconds": started, "tick_ms": 1000 * statistics.median(rounds)}


@click.command()
@click.option("--ticks", default=288, show_default=True)
@click.option("--agents", default=100, show_default=True)
@click.option("--repeat", default=1, show_default=True, help="Runs of each mode.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write JSON here.")
def main(ticks: int, agents: int, repeat: int, json_file: Path | None) -> None:
    """Measure inline, auto and one actor per agent."""
    prepare(None)
    from swarm.runtime.ray.cluster import Cluster

    begin = time.perf_counter()
    cluster = Cluster(None)
    ray_seconds = time.perf_counter() - begin
    rows: list[dict[str, Any]] = []
    for mode, engine, per_actor in (
        ("inline", "inline", "auto"),
        ("ray auto", "ray", "auto"),
        ("ray 1 each", "ray", 1),
    ):
        for _ in range(repeat):
            run = swarm.run(
                "price_spike",
                sets=(f"ticks={ticks}",),
                agents=agents,
                engine=engine,  # type: ignore[arg-type]
                agents_per_actor=per_actor,  # type: ignore[arg-type]
                out=None,
            )
            seconds = run.timings["seconds_by_phase"]
            ticking = seconds["step"] + seconds["clear"] + seconds["write"]
            row = {
                "mode": mode,
                "hosts": run.manifest["hosts"],
                "start_seconds": seconds["start"],
                "ticking_seconds": ticking,
                "tick_ms": 1000 * ticking / ticks,
                "digest": run.digest,
            }
            rows.append(row)
            click.echo(
                f"{mode:11} {row['hosts']:4} hosts  start {row['start_seconds']:6.2f} s  "
                f"{ticks} ticks {ticking:7.2f} s  {row['tick_ms']:7.2f} ms/tick  "
                f"{run.digest[:12]}"
            )
    assert len({row["digest"] for row in rows}) == 1, "the digests differ"
    bare = bare_tick(agents, 50)
    one_each = statistics.median(row["tick_ms"] for row in rows if row["mode"] == "ray 1 each")
    click.echo(
        f"{'bare Ray':11} {agents:4} actors start {bare['start_seconds']:6.2f} s  "
        f"{bare['tick_ms']:.2f} ms/round; one actor each takes {one_each / bare['tick_ms']:.2f}x"
    )
    cluster.close()
    if json_file is not None:
        answer = {
            "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
            "ray_start_seconds": ray_seconds,
            "modes": rows,
            "bare": bare,
        }
        json_file.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
