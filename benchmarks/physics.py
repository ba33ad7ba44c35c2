"""What the physics of a tick cost: their share of a run, and ms per part.

    python benchmarks/physics.py [--agents 1000] [--ticks 288] [--repetitions 5] [--json FILE]

`price_spike` runs inline with `--agents` agents, a feeder and frequency. The share is the time in
`Physics.run` over the time of all ticks of the same run, so a slow moment of the machine hits both.
A frequency interval is timed on `emergency`, where it is quiet before the event and disturbed after
it: `disturbed` are those with a part at the fine step. Clocks are CPU time of this process.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from machine import facts

import swarm
from swarm.grid import frequency
from swarm.grid.physics import Physics
from swarm.grid.voltage import FeederVoltage
from swarm.runtime.inline import InlineEngine

EMERGENCY = ("baseline=null",)
Calls = list[tuple[float, Any]]


@contextmanager
def clocked(owner: Any, name: str) -> Iterator[Calls]:
    """CPU seconds and answer of every call of `owner.name` while the block lasts."""
    calls: Calls = []
    plain: Callable[..., Any] = getattr(owner, name)

    def timed(*args: Any, **options: Any) -> Any:
        begin = time.process_time()
        answer = plain(*args, **options)
        calls.append((time.process_time() - begin, answer))
        return answer

    setattr(owner, name, timed)
    try:
        yield calls
    finally:
        setattr(owner, name, plain)


def total(calls: Calls) -> float:
    """Seconds of all calls."""
    return sum(seconds for seconds, _ in calls)


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def share(agents: int, ticks: int) -> dict[str, float]:
    """One run: share of the physics, and ms per tick of everything and of its parts."""
    with (
        clocked(InlineEngine, "send") as steps,
        clocked(InlineEngine, "close") as closes,
        clocked(Physics, "run") as physics,
        clocked(FeederVoltage, "run") as voltage,
        clocked(frequency, "simulate") as simulated,
    ):
        swarm.run("price_spike", agents=agents, ticks=ticks, engine="inline", out=None)
    tick = total(steps) + total(closes)
    parts = {"tick": tick, "physics": total(physics), "feeder": total(voltage)}
    parts["frequency"] = total(simulated)
    row = {f"{name}_ms": 1000 * seconds / ticks for name, seconds in parts.items()}
    return {"share": total(physics) / tick, **row}


def intervals() -> dict[str, float]:
    """ms per frequency interval of `emergency`, quiet and disturbed."""
    with clocked(frequency, "simulate") as simulated:
        swarm.run("emergency", sets=EMERGENCY, engine="inline", out=None)
    ms = {
        name: [1000 * seconds for seconds, result in simulated if result.fine == fine]
        for name, fine in (("quiet", False), ("disturbed", True))
    }
    return {f"{name}_ms": statistics.median(values) for name, values in ms.items()}


def columns(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Spread of each figure over repetitions."""
    return {name: spread([row[name] for row in rows]) for name in rows[0]}


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--agents", default=1_000, show_default=True, help="Agents of price_spike.")
@click.option("--ticks", default=288, show_default=True, type=click.IntRange(min=228))
@click.option("--repetitions", default=5, show_default=True, type=click.IntRange(min=2))
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
def main(agents: int, ticks: int, repetitions: int, json_file: Path | None) -> None:
    """Measure, print, and keep the figures."""
    machine = facts(
        agents=agents,
        ticks=ticks,
        repetitions=repetitions,
    )
    tick = columns([share(agents, ticks) for _ in range(repetitions)])
    interval = columns([intervals() for _ in range(repetitions)])
    click.echo("  ".join(f"{name} {value}" for name, value in machine.items()))
    click.echo("CPU time; median (min-max)")
    names = {
        **{"tick_ms": "a tick without results", "physics_ms": "  physics"},
        **{"feeder_ms": "    of them the feeder", "frequency_ms": "    of them frequency"},
    }
    for name, words in names.items():
        click.echo(f"{words:<24}{cell(tick[name])} ms")
    click.echo(f"{'share of the physics':<24}{cell(tick['share'])}")
    for name, words in (("quiet_ms", "quiet"), ("disturbed_ms", "disturbed")):
        click.echo(f"{f'{words} interval':<24}{cell(interval[name])} ms of frequency")
    if json_file is not None:
        figures = {"machine": machine, "tick": tick, "interval": interval}
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


def cell(values: dict[str, float]) -> str:
    """Median and range."""
    return f"{values['median']:.3g} ({values['min']:.3g}-{values['max']:.3g})"


if __name__ == "__main__":
    main()
