"""Acting of agents with own weights 64-128-64-32-20 beside reading those weights once.

    python benchmarks/acting.py [--quick] [--json FILE]

Every weight enters one multiplication, so memory bandwidth is the limit: the reference reads all
weights once with an exclusive or over 64-bit words, the fastest plain reading in numpy that we
found (a sum of float32 takes 1.4 times as long). Both are timed in turn within a repetition, so a
slow moment of the machine hits both; the figure is their ratio. `shared` is the same number of
agents on one set of weights.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

from swarm.learning.networks import GENERATOR, Weights, forward, init

SIZES = (100, 1_000, 10_000)


def read(weights: Weights) -> None:
    """Every byte of the weights once."""
    for array in weights.values():
        np.bitwise_xor.reduce(array.reshape(-1).view(np.uint64))


def milliseconds(call: Callable[[], object], calls: int) -> float:
    """Mean CPU time of `calls` calls; one thread, so other work on the machine does not count."""
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls * 1_000


def measure(agents: int, seed: int, repetitions: int) -> dict[str, Any]:
    """Times and their ratio for one number of agents."""
    few = init(GENERATOR, seed, 0, 100)
    own = {name: np.concatenate([array] * (agents // 100)) for name, array in few.items()}
    one = {name: array[:1] for name, array in few.items()}
    x = np.random.default_rng(seed).uniform(-1, 1, (agents, 64)).astype(np.float32)
    timed: dict[str, Callable[[], object]] = {
        "act": lambda: forward(GENERATOR, own, x),
        "read": lambda: read(own),
        "shared": lambda: forward(GENERATOR, one, x),
    }
    for call in timed.values():
        call()
    calls = max(1, 5_000 // agents)
    runs = [
        {name: milliseconds(call, calls) for name, call in timed.items()}
        for _ in range(repetitions)
    ]
    return {
        "agents": agents,
        "weights_mib": sum(array.nbytes for array in own.values()) / 2**20,
        **{f"{name}_ms": spread([run[name] for run in runs]) for name in timed},
        "ratio": spread([run["act"] / run["read"] for run in runs]),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option("--quick", is_flag=True, help="Five repetitions instead of fifteen.")
@click.option("--seed", default=0, show_default=True, help="Of weights and observations.")
def main(json_file: Path | None, quick: bool, seed: int) -> None:
    """Measure, print, and keep the figures."""
    repetitions = 5 if quick else 15
    machine = facts(seed=seed, repetitions=repetitions)
    rows = [measure(agents, seed, repetitions) for agents in SIZES]
    click.echo("  ".join(f"{name} {value}" for name, value in machine.items()))
    click.echo("CPU ms, median (min-max)")
    click.echo(f"{'agents':>7} {'MiB':>6} {'act':>8} {'read':>8} {'shared':>8} {'act / read':>18}")
    for row in rows:
        times = " ".join(
            f"{row[f'{name}_ms']['median']:>8.2f}" for name in ("act", "read", "shared")
        )
        ratio = row["ratio"]
        cell = f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"
        click.echo(f"{row['agents']:>7,} {row['weights_mib']:>6.1f} {times} {cell:>18}")
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
