"""What contracts cost a run: signatures, proofs, their verification and the audit log.

    python benchmarks/signing.py [--quick] [--ray] [--json FILE]

`price_spike` runs from 16:00 with each mode of `trust.signatures`, its cost is what it takes beyond
`none`. Inline in 2 hosts with 10,000 and with 100 agents: CPU time of this process, so that other
work on the machine does not count. On Ray with 100 agents in an actor each: CPU time of all
processes of Ray and this one (Linux), and wall-clock time of the median tick, which only an idle
machine gives. A tick is from one call of the run's progress to the next; what is done once (keys,
the first tick) is left out. The modes take turns, and each repetition compares runs of its own.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
from machine import facts
from physics import cell, clocked, spread, total

import swarm
from swarm.agents.host import Host
from swarm.grid.balance import Operated
from swarm.market.awards import Notary, Sealed
from swarm.market.record import Cleared
from swarm.results.audit import AuditWriter
from swarm.runtime.session import Silent
from swarm.trust import holder
from swarm.trust.dispatch import Verifier
from swarm.trust.holder import Holder

EVENING = ("start=2024-07-30T16:00:00+10:00", "events=[]")
MODES = ("none", "per_agent", "per_shard")
PARTS = {
    "market seals and proves": (Notary, "seal"),
    "market sends proofs": (Sealed, "for_host"),
    "market checks offers": (Notary, "accept"),
    "shards build contracts": (holder, "build_contracts"),
    "shards countersign": (holder, "countersign"),
    "shards countersign blocks": (holder, "countersign_shard"),
    "shards verify": (Verifier, "check"),
    "shards, the rest": (Holder, "check"),
    "hosts sign and report": (Host, "_report"),
    "audit log": (AuditWriter, "write"),
}
INSIDE = ("build contracts", "countersign", "countersign blocks", "verify")
"""Parts of the shards that `shards, the rest` holds."""


class Clock(Silent):
    """Times and contracts of the ticks of a run.

    Args:
        family: CPU time is that of this process and of all that descend from it.
    """

    def __init__(self, family: bool = False) -> None:
        self._now = family_seconds if family else time.process_time
        self.cpu: list[float] = []
        self.wall: list[float] = []
        self.contracts: list[int] = []

    def tick(self, cleared: Cleared, operated: Operated) -> None:
        """A tick went by."""
        self.cpu.append(self._now())
        self.wall.append(time.perf_counter())
        self.contracts.append(cleared.contracts)


def family_seconds() -> float:
    """CPU seconds so far of this process and of those that descend from it and run; from /proc."""
    parent, seconds = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        pid = int(folder.name)
        parent[pid], seconds[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    found, last = {os.getpid()}, 0
    while len(found) > last:
        last = len(found)
        found |= {pid for pid, above in parent.items() if above in found}
    return sum(seconds[pid] for pid in found) / os.sysconf("SC_CLK_TCK")


@contextmanager
def parts_clocked() -> Iterator[dict[str, Any]]:
    """The calls of every part while the block lasts."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(clocked(owner, method))
            for name, (owner, method) in PARTS.items()
        }


def run(mode: str, agents: int, ticks: int, **options: Any) -> Clock:
    """One run."""
    clock = Clock(family=options["engine"] == "ray")
    with tempfile.TemporaryDirectory() as folder:
        swarm.run(
            "price_spike",
            agents=agents,
            replicate=True,
            ticks=ticks,
            sets=(*EVENING, f"trust.signatures={mode}"),
            out=folder,
            progress=clock,
            **options,
        )
    return clock


def inline(mode: str, agents: int, ticks: int) -> dict[str, float]:
    """CPU ms a tick, and of them in each part, of one run in 2 hosts; contracts a tick."""
    with parts_clocked() as calls:
        clock = run(mode, agents, ticks, engine="inline", agents_per_actor=agents // 2)
    # The closing steps clear nothing.
    row = {"tick": 1000 * (clock.cpu[ticks - 1] - clock.cpu[0]) / (ticks - 1)}
    row["contracts"] = statistics.mean(clock.contracts[:ticks])
    if mode == "none":
        return row
    for name, found in calls.items():
        row[name] = 1000 * total(found) / ticks
    row["shards, the rest"] -= sum(row[f"shards {name}"] for name in INSIDE)
    return row


def on_ray(mode: str, agents: int, ticks: int) -> dict[str, float]:
    """CPU ms a tick of one run with an actor for each agent, and wall-clock ms of its median."""
    clock = run(mode, agents, ticks, engine="ray", agents_per_actor=1)
    row = {"tick": 1000 * (clock.cpu[ticks - 1] - clock.cpu[0]) / (ticks - 1)}
    seconds = [after - before for before, after in pairwise(clock.wall[:ticks])]
    row["wall clock"] = 1000 * statistics.median(seconds)
    row["contracts"] = statistics.mean(clock.contracts[:ticks])
    return row


def compared(rows: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Spread of each figure over repetitions, and what each mode takes beyond `none`."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for mode, runs in rows.items():
        for name in runs[0]:
            found[mode][name] = spread([row[name] for row in runs])
        if mode == "none":
            continue
        more = [row["tick"] - plain["tick"] for row, plain in zip(runs, rows["none"], strict=True)]
        found[mode]["beyond none"] = spread(more)
        shares = [ms / row["tick"] for ms, row in zip(more, runs, strict=True)]
        found[mode]["share of the tick"] = spread(shares)
        if "contracts" in runs[0]:
            each = [1000 * ms / row["contracts"] for ms, row in zip(more, runs, strict=True)]
            found[mode]["microseconds a contract"] = spread(each)
    return dict(found)


def told(title: str, found: dict[str, dict[str, Any]]) -> None:
    """Print a table of figures."""
    click.echo(title)
    for mode, figures in found.items():
        for name, values in figures.items():
            if values["max"] != 0:
                click.echo(f"  {mode:<10} {name:<26} {cell(values)}")


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--quick", is_flag=True, help="100 agents inline, for a short time.")
@click.option("--ray", is_flag=True, help="100 agents on Ray, an actor each, instead of inline.")
@click.option("--ticks", type=click.IntRange(min=3), help="Of every run.")
@click.option("--repetitions", default=2, show_default=True, type=click.IntRange(min=2))
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
def main(
    quick: bool, ray: bool, ticks: int | None, repetitions: int, json_file: Path | None
) -> None:
    """Measure, print, and keep the figures."""
    machine = facts(quick=quick, repetitions=repetitions)
    click.echo("  ".join(f"{name} {value}" for name, value in machine.items()))
    click.echo("milliseconds a tick where nothing else is said; median (min-max)")
    figures: dict[str, Any] = {"machine": machine}
    sizes = {100: 12} if quick else {100: 48, 10_000: 8}
    if ray:
        figures["ray, 100 agents"] = ray_figures(ticks or 24, repetitions)
        told(
            "100 agents on Ray, an actor each, CPU time of all processes",
            figures["ray, 100 agents"],
        )
        sizes = {}
    else:
        # The first run of a process pays for imports.
        run("per_agent", 20, 2, engine="inline")
    for agents, usual in sizes.items():
        rows: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
        for _ in range(repetitions):
            for mode in MODES:
                rows[mode].append(inline(mode, agents, ticks or usual))
        figures[f"inline, {agents} agents"] = compared(rows)
        told(f"{agents:,} agents inline, CPU time", compared(rows))
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


def ray_figures(ticks: int, repetitions: int) -> dict[str, dict[str, Any]]:
    """Runs with and without signatures on one Ray, in turn."""
    from swarm.runtime.local_ray import prepare

    prepare(None)
    from swarm.runtime.ray.cluster import Cluster

    cluster = Cluster(None)
    rows: dict[str, list[dict[str, float]]] = {"none": [], "per_agent": []}
    for _ in range(repetitions):
        for mode, found in rows.items():
            found.append(on_ray(mode, 100, ticks))
    cluster.close()
    return compared(rows)


if __name__ == "__main__":
    main()
