"""CPU milliseconds per clearing beside bare argsort + cumsum on the same arrays.

    python benchmarks/clearing.py [--quick] [--json FILE]

The bare reference sorts each side by price and sums its quantities, which is the least any
clearing by sorting does and yields no price, no shares and no checks; the sides are taken apart
before its clock starts. Both are timed in turn within a repetition, so a slow moment of the
machine hits both; the figure is their ratio. numpy's default sort of int64 is vectorized on some
processors, and only the stable kind keeps ties in order, so each is a reference of its own.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

from swarm.market import BUY, SELL, OrderBook, clear

SIZES = (1_000, 10_000, 100_000)
PRICE_CAP = 200_000
"""Prices are uniform on the milli grid from 0 to 200 per MWh."""
SORTS = {
    "int64": ("quicksort", np.int64),
    "int64_stable": ("stable", np.int64),
    "float64": ("quicksort", np.float64),
    "float64_stable": ("stable", np.float64),
}
"""Kind of argsort and type of the prices; `quicksort` is numpy's default."""


def random_book(orders: int, seed: int) -> OrderBook:
    """Orders of distinct agents, half of them bids; quantities lognormal around 1 MW."""
    rng = np.random.default_rng(seed)
    side = np.where(rng.random(orders) < 0.5, SELL, BUY).astype(np.int8)
    price = rng.integers(0, PRICE_CAP + 1, orders)
    quantity = np.rint(rng.lognormal(np.log(1e6), 1.0, orders)).astype(np.int64)
    return OrderBook(side, price, quantity, np.arange(orders, dtype=np.int64))


def bare_sort(sides: list[tuple[np.ndarray, np.ndarray]], kind: Any) -> None:
    """Each side's prices sorted and quantities summed in that order."""
    for price, quantity in sides:
        np.cumsum(quantity[np.argsort(price, kind=kind)])


def split(book: OrderBook, dtype: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Price and quantity of each side."""
    rows = [book.side == side for side in (SELL, BUY)]
    return [(book.price[of_side].astype(dtype), book.quantity[of_side]) for of_side in rows]


def milliseconds(call: Callable[[], object], calls: int) -> float:
    """Mean CPU time of `calls` calls; one thread, so other work on the machine does not count."""
    start = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - start) / calls * 1_000


def measure(orders: int, seed: int, repetitions: int, seconds: float) -> dict[str, Any]:
    """Times and ratios at one size; each repetition lasts about `seconds`."""
    book = random_book(orders, seed)
    timed: dict[str, Callable[[], object]] = {
        "clear": partial(clear, book, price_floor=0, price_cap=PRICE_CAP),
        **{
            name: partial(bare_sort, split(book, dtype), kind)
            for name, (kind, dtype) in SORTS.items()
        },
    }
    # The first calls warm caches and tell how many fit into a repetition.
    once = sum(milliseconds(call, 3) for call in timed.values())
    calls = max(3, int(seconds * 1_000 / once))
    runs = [
        {name: milliseconds(call, calls) for name, call in timed.items()}
        for _ in range(repetitions)
    ]
    result: dict[str, Any] = {"orders": orders, "calls_per_repetition": calls}
    result["clear_ms"] = spread([run["clear"] for run in runs])
    for name in SORTS:
        result[f"{name}_ms"] = spread([run[name] for run in runs])
        result[f"ratio_{name}"] = spread([run["clear"] / run[name] for run in runs])
    return result


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def show(rows: list[dict[str, Any]]) -> None:
    """The aligned table: medians, and ratios with their range."""
    click.echo(
        f"{'orders':>8}  {'reference':<14} {'clear ms':>9} {'sort ms':>9} {'clear / sort':>18}"
    )
    for row in rows:
        for name in SORTS:
            ratio = row[f"ratio_{name}"]
            cell = f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"
            click.echo(
                f"{row['orders']:>8,}  {name:<14} {row['clear_ms']['median']:>9.3f} "
                f"{row[f'{name}_ms']['median']:>9.3f} {cell:>18}"
            )


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write figures here.")
@click.option("--quick", is_flag=True, help="Short repetitions.")
@click.option("--seed", default=0, show_default=True, help="Of the random books.")
@click.option("--repetitions", default=7, show_default=True, type=click.IntRange(min=5))
def main(json_file: Path | None, quick: bool, seed: int, repetitions: int) -> None:
    """Measure, print, and keep the figures."""
    machine = facts(
        seed=seed,
        repetitions=repetitions,
    )
    rows = [measure(size, seed, repetitions, 0.1 if quick else 1.0) for size in SIZES]
    click.echo("  ".join(f"{name} {value}" for name, value in machine.items()))
    click.echo("sort: argsort + cumsum per side, sides apart beforehand; median (min-max)")
    show(rows)
    if json_file is not None:
        json_file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
