"""The report of several runs on one page: what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from swarm.errors import UsageError
from swarm.messages import Float
from swarm.results.page import COLOURS, DASHES, bullets, label, table
from swarm.results.report import Page, contents, made_page, sections
from swarm.results.report_figures import side_by_side
from swarm.results.report_lines import MOST_POINTS, PATTERNS, axis, layout, thinned
from swarm.results.report_panels import Panel
from swarm.results.report_read import Ticks, read_ticks
from swarm.results.run import Run, read_run

MOST_RUNS = 6
"""Runs of a page: more lines could not be told apart."""
FIGURES = [("figures", "Key figures")]
SETTLED = ("scenario", "seed", "ticks", "agents")
"""Entries of a manifest that are worth a word where they differ."""


def compare_runs(folders: Sequence[Path]) -> Page:
    """The page of two to `MOST_RUNS` finished runs.

    Args:
        folders: of the runs; the first one is what others are compared with.

    Raises:
        UsageError: one is no finished run or is damaged, or there are too many.
    """
    if not 2 <= len(folders) <= MOST_RUNS:
        raise UsageError(f"expected 2 to {MOST_RUNS} runs to compare, got {len(folders)}")
    runs = [read_run(folder) for folder in folders]
    names = _names(folders, runs)
    reads = [read for run in runs if (read := read_ticks(run)) is not None]
    if len(reads) != len(runs):
        raise UsageError("a run without a tick has nothing to compare")
    try:
        return _page(runs, names, reads)
    except KeyError as error:
        raise UsageError(f"a metrics.json is damaged: it has no {error}") from None


def _page(runs: Sequence[Run], names: Sequence[str], reads: Sequence[Ticks]) -> Page:
    title = f"{names[0]} and {', '.join(names[1:])}"
    panels = [
        _lines("price", "Price", "Clearing price of each tick.", names, reads, _price),
        _lines("volume", "Volume", "Power traded in each tick.", names, reads, _volume),
        _lines("imports", "Imports", "Power from outside in each tick.", names, reads, _imports),
        _lines("low", "Lowest frequency", "Of each tick.", names, reads, _frequency),
        _bars("profit", "Profit by kind", "profit_by_kind", names, runs),
        _bars("cost", "True cost by kind", "cost_by_kind", names, runs),
    ]
    change = ("change",) if len(runs) == 2 else ()
    parts = [f"<h1>{escape(title)}</h1>", bullets(_facts(runs, names)), contents(panels, FIGURES)]
    parts += sections(panels)
    parts += ['<h2 id="figures">Key figures and what they mean</h2>']
    for group, rows in side_by_side([run.metrics for run in runs]):
        parts.append(f"<h3>{escape(group)}</h3>")
        parts.append(table(("figure", *names, *change, "meaning"), rows, stacked=True))
    return made_page(title, parts, panels)


def _names(folders: Sequence[Path], runs: Sequence[Run]) -> list[str]:
    """A letter for each run, with what the run is called."""
    return [
        f"{chr(ord('A') + at)} ({run.manifest.get('scenario')}, seed {run.manifest.get('seed')})"
        for at, run in enumerate(runs)
    ]


def _facts(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    lines = []
    for run, name in zip(runs, names, strict=True):
        policies = run.manifest.get("policies", {}).get("by_kind", {})
        followed = ", ".join(f"{kind} {policy}" for kind, policy in sorted(policies.items()))
        folder = "" if run.run_dir is None else run.run_dir.name
        lines.append(f"{name}: {folder}; {followed or 'policies are not known'}.")
    differ = [entry for entry in SETTLED if len({str(run.manifest.get(entry)) for run in runs}) > 1]
    if differ:
        lines.append(f"They differ in {', '.join(differ)}: read the figures with care.")
    if len({run.digest for run in runs}) == 1:
        lines.append("Their tables are the same, byte by byte.")
    if len({run.metrics.get("currency") for run in runs}) > 1:
        lines.append("They differ in currency: amounts of money cannot be compared.")
    lines.append(
        "One run each shows what happened, not what is better: swarm compare runs policies on "
        "several seeds and days and says how sure a difference is."
    )
    return lines


def _price(read: Ticks) -> Float:
    return read.market["price_milli_per_mwh"] / 1e3


def _volume(read: Ticks) -> Float:
    return read.market["volume_w"] / 1e6


def _imports(read: Ticks) -> Float:
    return read.grid["import_w"] / 1e6


def _frequency(read: Ticks) -> Float:
    return read.grid["frequency_min_hz"]


UNITS = {"volume": "MW", "imports": "MW", "low": "Hz"}


def _lines(
    name: str, title: str, reading: str, names: Sequence[str], reads: Sequence[Ticks], values: Any
) -> Panel:
    """A line of each run over hours from its start."""
    data = []
    for at, (called, read) in enumerate(zip(names, reads, strict=True)):
        found = values(read)
        if not np.isfinite(found).any():
            continue
        keep = thinned(found)
        shape = {"color": COLOURS[at], "dash": DASHES[at], "width": 2, "shape": "hv"}
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": label(called),
                "x": (read.tick[keep] * read.clock.minutes / 60).tolist(),
                "y": found[keep].tolist(),
                "line": shape,
            }
        )
    if not data:
        return Panel(name, title, "No run has it.")
    money = dict.fromkeys(label(read.currency) for read in reads)
    unit = UNITS.get(name) or f"{' or '.join(money)} per MWh"
    if any(len(read.tick) > MOST_POINTS for read in reads):
        reading += " Long lines are thinned to the least and the highest value of each stretch."
    hours = axis("hours from the start of the run")
    return Panel(name, title, reading, {"data": data, "layout": layout(330, unit, xaxis=hours)})


def _bars(name: str, title: str, entry: str, names: Sequence[str], runs: Sequence[Run]) -> Panel:
    """A group of bars for each kind, one of each run."""
    if len({run.metrics["currency"] for run in runs}) > 1:
        return Panel(name, title, "The runs differ in currency.")
    figures: list[Mapping[str, float]] = [run.metrics[entry] for run in runs]
    kinds = sorted({kind for each in figures for kind in each})
    data = [
        {
            "type": "bar",
            "name": label(called),
            "x": [label(kind) for kind in kinds],
            "y": [each.get(kind) for kind in kinds],
            "marker": {"color": COLOURS[at], "pattern": {"shape": ["", *PATTERNS][at]}},
        }
        for at, (called, each) in enumerate(zip(names, figures, strict=True))
    ]
    money = label(runs[0].metrics["currency"])
    reading = f"Sums over the whole run, in {runs[0].metrics['currency']}."
    return Panel(name, title, reading, {"data": data, "layout": layout(330, money)})
