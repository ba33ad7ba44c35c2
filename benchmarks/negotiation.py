"""Negotiations and agents' answers per second, beside clearing the same orders as one book.

    python benchmarks/negotiation.py [--quick] [--json FILE]

Answers per second are of wall time; all else is CPU time of the one thread, so that other work on
the machine does not count in the ratio. Hosts are called one after the other, nothing is sent. A
negotiation is all of a tick: the curves, the rounds, the final answers, the shares, and the orders
filled from the awards. Both are timed in turn within a repetition, so a slow moment of the machine
hits both. Each tick has new orders around a price that wanders; a negotiation starts from the last
tick's price.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

from swarm.market import BUY, SELL, OrderBook, clear
from swarm.market.curves import Curves, total
from swarm.market.negotiation import negotiate, share
from swarm.messages import Orders
from swarm.scenario.negotiation import Negotiation

AGENTS = (100, 10_000)
HOSTS = (1, 2)
FLOOR, CAP = -500_000, 3_000_000
RULES = Negotiation()


@dataclass(frozen=True)
class Tick:
    """The orders of one tick as one book, and as they lie on the hosts."""

    book: OrderBook
    hosts: tuple[Orders, ...]


def ticks(agents: int, hosts: int, count: int, seed: int) -> list[Tick]:
    """Three orders an agent, two of them offers; prices in milli-currency, quantities about 1 MW.

    The mean price wanders by about 2 per MWh a tick.
    """
    rng = np.random.default_rng(seed)
    level, found = 50_000.0, []
    agent = np.repeat(np.arange(agents), 3)
    side = np.tile(np.array([SELL, SELL, BUY], dtype=np.int8), agents)
    bounds = np.linspace(0, agents, hosts + 1).astype(int) * 3
    for _ in range(count):
        level += rng.normal(0, 2_000)
        price = np.rint(rng.normal(level, 20_000, 3 * agents)).astype(np.int64)
        quantity = np.rint(rng.lognormal(np.log(1e6), 1.0, 3 * agents)).astype(np.int64)
        book = OrderBook(side, np.clip(price, FLOOR, CAP), quantity, agent)
        parts = [slice(*pair) for pair in pairwise(bounds)]
        found.append(
            Tick(
                book,
                tuple(Orders(side[p], book.price[p], quantity[p], agent[p]) for p in parts),
            )
        )
    return found


def negotiated(tick: Tick, start: int) -> tuple[int, int]:
    """Negotiate one tick from the price `start`: the price, and the number of rounds."""
    curves = [Curves(orders) for orders in tick.hosts]
    found = negotiate(
        lambda price: total(curve.sums(price) for curve in curves),
        start_price=start,
        floor=FLOOR,
        cap=CAP,
        rules=RULES,
    )
    final = total(curve.sums(found.price) for curve in curves)
    parts = [curve.quantities(found.price) for curve in curves]
    agreement = share(parts, found.price, final.dearer_supply_w)
    for curve in curves:
        curve.fill(found.price, agreement.awards)
    return found.price, found.rounds


def measure(agents: int, hosts: int, count: int, repetitions: int, seed: int) -> dict[str, Any]:
    """Figures at one size; every repetition goes through the same ticks."""
    run, times = ticks(agents, hosts, count, seed), []
    rounds: list[int] = []
    for _ in range(repetitions + 1):
        rounds, negotiating, clearing, wall, price = [], 0.0, 0.0, 0.0, 0
        for tick in run:
            start, wall_start = time.process_time(), time.perf_counter()
            price, called = negotiated(tick, price)
            between = time.process_time()
            wall += time.perf_counter() - wall_start
            cleared = clear(tick.book, price_floor=FLOOR, price_cap=CAP)
            clearing += time.process_time() - between
            negotiating += between - start
            rounds.append(called)
            if cleared.price != price:
                raise AssertionError(f"negotiated {price}, cleared {cleared.price}")
        times.append((negotiating, clearing, wall))
    # The first one warms caches.
    timed = times[1:]
    return {
        "agents": agents,
        "hosts": hosts,
        "ticks": count,
        "rounds": spread([float(called) for called in rounds]),
        "negotiation_ms": spread([1e3 * one / count for one, _, _ in timed]),
        "clear_ms": spread([1e3 * other / count for _, other, _ in timed]),
        "ratio": spread([one / other for one, other, _ in timed]),
        "negotiations_per_second": spread([count / wall for _, _, wall in timed]),
        "answers_per_second": spread([agents * sum(rounds) / wall for _, _, wall in timed]),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def show(rows: list[dict[str, Any]]) -> None:
    """The aligned table: medians, and their range where it tells."""
    click.echo(
        f"{'agents':>7} {'hosts':>5} {'rounds':>14} {'ms':>8} {'clear ms':>9} "
        f"{'ratio':>19} {'answers/s':>13}"
    )
    for row in rows:
        rounds, ratio = row["rounds"], row["ratio"]
        called = f"{rounds['median']:.0f} ({rounds['min']:.0f}-{rounds['max']:.0f})"
        times = f"{ratio['median']:.1f} ({ratio['min']:.1f}-{ratio['max']:.1f})"
        click.echo(
            f"{row['agents']:>7,} {row['hosts']:>5} {called:>14} "
            f"{row['negotiation_ms']['median']:>8.2f} {row['clear_ms']['median']:>9.3f} "
            f"{times:>19} {row['answers_per_second']['median']:>13,.0f}"
        )


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option("--quick", is_flag=True, help="Few ticks.")
@click.option("--seed", default=0, show_default=True, help="Of the orders.")
@click.option("--repetitions", default=7, show_default=True, type=click.IntRange(min=5))
def main(json_file: Path | None, quick: bool, seed: int, repetitions: int) -> None:
    """Measure, print, and keep the figures."""
    machine = facts(seed=seed, repetitions=repetitions)
    count = 10 if quick else 50
    rows = [
        measure(agents, hosts, count, repetitions, seed) for agents in AGENTS for hosts in HOSTS
    ]
    click.echo("  ".join(f"{name} {value}" for name, value in machine.items()))
    click.echo(
        "CPU time of a tick, negotiated and cleared; answers/s of wall time; median (min-max)"
    )
    show(rows)
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
