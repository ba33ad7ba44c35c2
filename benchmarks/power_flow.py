"""Power flows per second on the 33-bus feeder beside pandapower, and ms per settled state.

    python benchmarks/power_flow.py [--quick] [--json FILE]

Both solve the same random loads by Newton-Raphson, `Feeder.solve` as one batch on one thread,
pandapower by one `runpp` each, at its own defaults but started from the last solution and without
rebuilding what a change of load leaves alone; numba speeds it up where it is installed. Their last
voltages must agree to 1e-6 pu. Without pandapower only ours are timed. They take turns within a
repetition, so a slow moment of the machine hits both; the figure is their ratio.

A settled state (`Feeder.regulate`) is timed `cold`, from no reactive power, and `warm`, from the
state of an interval with 0.5 % less sun.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

from swarm.grid.feeder import Feeder
from swarm.grid.feeders import case33bw
from swarm.grid.inverter import Inverters

BATCH = 1_000
INVERTERS = (100, 1_000)
SUN_W = 5e6
"""Of all inverters together; at 0.3 of the base load volt-var and some volt-watt are at work."""
LOAD_SHARE = 0.3


def seconds(call: Callable[[], object], calls: int) -> float:
    """Mean CPU time of `calls` calls; one thread, so other work on the machine does not count."""
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def peer(scale: np.ndarray) -> Callable[[], np.ndarray] | None:
    """Flows of pandapower at `scale` (entries, 33) times the base load, to the last voltages."""
    try:
        import pandapower
        from pandapower.networks import case33bw as network
    except ImportError:
        return None
    net = network()
    p, q = net.load.p_mw.to_numpy(), net.load.q_mvar.to_numpy()
    bus = net.load.bus.to_numpy()
    pandapower.runpp(net)

    def solve() -> np.ndarray:
        for entry in scale:
            net.load["p_mw"], net.load["q_mvar"] = p * entry[bus], q * entry[bus]
            pandapower.runpp(
                net, init="results", recycle={"bus_pq": True, "gen": False, "trafo": False}
            )
        return net.res_bus.vm_pu.to_numpy()

    return solve


def flows(seed: int, repetitions: int, entries: int) -> dict[str, Any]:
    """Power flows per second; the peer solves the first `entries` of the batch."""
    table = case33bw()
    feeder = Feeder(table)
    scale = np.random.default_rng(seed).uniform(0.2, 1.2, (BATCH, len(table.buses)))
    ours = partial(feeder.solve, -table.load_w * scale, -table.load_var * scale)
    theirs = peer(scale[:entries])
    voltage = ours().voltage_pu
    if theirs is not None and abs(theirs() - voltage[entries - 1]).max() > 1e-6:
        raise click.ClickException("the two power flows disagree")
    rates: dict[str, list[float]] = {"swarm": [], "pandapower": []}
    for _ in range(repetitions):
        rates["swarm"].append(BATCH / seconds(ours, 3))
        if theirs is not None:
            rates["pandapower"].append(entries / seconds(theirs, 1))
    row: dict[str, Any] = {"batch": BATCH, "flows_per_s": spread(rates["swarm"])}
    if theirs is not None:
        row["pandapower_flows_per_s"] = spread(rates["pandapower"])
        pairs = zip(rates["swarm"], rates["pandapower"], strict=True)
        row["ratio"] = spread([one / other for one, other in pairs])
    return row


def settled(count: int, seed: int, repetitions: int, calls: int) -> dict[str, Any]:
    """Milliseconds and power flows per settled state with `count` inverters."""
    table = case33bw()
    feeder = Feeder(table)
    rng = np.random.default_rng(seed)
    bus = rng.integers(1, len(table.buses), count)
    rated = np.full(count, 1.1 * SUN_W / count)
    share = rng.uniform(0.8, 1.0, count)
    zero = np.zeros(count)

    def regulate(sun: float, *start: np.ndarray) -> Any:
        generation = sun * share * SUN_W / count
        power = -LOAD_SHARE * table.load_w + np.bincount(bus, generation, len(table.buses))
        inverters = Inverters(bus, rated, generation, generation)
        return feeder.regulate(power, -LOAD_SHARE * table.load_var, inverters, *start)

    before = regulate(0.995, zero)
    timed = {
        "cold": partial(regulate, 1.0, zero),
        "warm": partial(regulate, 1.0, before.reactive_var, before.curtailed_w),
    }
    row: dict[str, Any] = {"inverters": count}
    for name, call in timed.items():
        row[f"{name}_flows"] = call().iterations
        row[f"{name}_ms"] = spread([seconds(call, calls) * 1e3 for _ in range(repetitions)])
    return row


def cell(values: dict[str, float], digits: int) -> str:
    """Median and range."""
    return (
        f"{values['median']:,.{digits}f} ({values['min']:,.{digits}f}-{values['max']:,.{digits}f})"
    )


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option("--quick", is_flag=True, help="Short repetitions.")
@click.option("--seed", default=0, show_default=True, help="Of the random loads and inverters.")
@click.option("--repetitions", default=7, show_default=True, type=click.IntRange(min=5))
def main(json_file: Path | None, quick: bool, seed: int, repetitions: int) -> None:
    """Measure, print, and keep the figures."""
    machine = facts(
        power_grid_model=version("power-grid-model"),
        numba=find_spec("numba") is not None,
        seed=seed,
        repetitions=repetitions,
    )
    flow = flows(seed, repetitions, 10 if quick else 50)
    rows = [settled(count, seed, repetitions, 20 if quick else 100) for count in INVERTERS]
    click.echo("  ".join(f"{name} {value}" for name, value in machine.items()))
    click.echo("CPU time; median (min-max)")
    click.echo(f"power flows per second, batch of {BATCH:,}: {cell(flow['flows_per_s'], 0)}")
    if "ratio" in flow:
        click.echo(f"  pandapower: {cell(flow['pandapower_flows_per_s'], 1)}")
        click.echo(f"  ratio: {cell(flow['ratio'], 0)}")
    else:
        click.echo("  pandapower is not installed: no ratio")
    for row in rows:
        for name in ("cold", "warm"):
            click.echo(
                f"settled state, {row['inverters']:>5,} inverters, {name}: "
                f"{cell(row[f'{name}_ms'], 2)} ms, {row[f'{name}_flows']} flows"
            )
    if json_file is not None:
        figures = {"machine": machine, "power_flow": flow, "settled": rows}
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
