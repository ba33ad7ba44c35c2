"""Panels of negotiation, contracts and of learning during a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from swarm.results.page import label, table
from swarm.results.report_lines import axis, layout, line, times
from swarm.results.report_panels import Panel
from swarm.results.report_read import Ticks


def negotiation(read: Ticks) -> Panel:
    """Calls of each tick, and how many agents took part."""
    title = "Negotiation"
    if "rounds" not in read.market:
        why = "This market clears an auction (market.mechanism), nobody negotiates."
        return Panel("negotiation", title, why)
    clock, tick, market = read.clock, read.tick, read.market
    rounds = market["rounds"]
    data = [line(clock, tick, rounds, "prices called", line={"color": "#0072B2", "width": 2})]
    broken = np.flatnonzero(market["consensus"] == 0)[:500]
    if len(broken):
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "no consensus",
                "marker": {"symbol": "x", "size": 9, "color": "#D55E00"},
                "x": [clock.at(tick[at]) for at in broken],
                "y": rounds[broken].tolist(),
            }
        )
    took = {"line": {"color": "#000", "width": 2, "dash": "dot"}, "yaxis": "y2"}
    data.append(line(clock, tick, market["agreed"], "agents that took part", **took))
    shape = layout(
        380,
        "prices called",
        yaxis=axis("prices called", domain=[0.48, 1], rangemode="tozero"),
        yaxis2=axis("agents", domain=[0, 0.38], rangemode="tozero"),
        xaxis=times(clock, len(tick), anchor="y2"),
    )
    reading = (
        "How many prices were called until supply met demand, the final one included; a cross is a "
        "tick that ended without consensus. Below: agents that answered in time."
    )
    return Panel("negotiation", title, reading, {"data": data, "layout": shape})


def contracts(metrics: Mapping[str, Any]) -> Panel:
    """Counts of contracts, refusals and policy violations."""
    title = "Contracts and policies"
    if not metrics:
        why = (
            "The counts are made when a run ends. swarm audit verify counts what was "
            "signed until then."
        )
        return Panel("contracts", title, why)
    if metrics.get("contracts") is None:
        why = "Nothing is signed in this run (trust.signatures: none)."
        return Panel("contracts", title, why)
    bars = [
        ("contracts sealed", metrics["contracts"]),
        ("acted on", metrics["dispatches"]),
        *((f"refused: {name.replace('_', ' ')}", n) for name, n in _of(metrics, "refusals")),
        *((f"beyond policy: {name}", n) for name, n in _of(metrics, "violations")),
        ("moved unpermitted", metrics["unpermitted_dispatches"]),
    ]
    names = [label(name) for name, _ in bars]
    counts = [count for _, count in bars]
    bar = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": [max(count, 0.8) for count in counts],
        "text": [f"{count:,}" for count in counts],
        "textposition": "auto",
        "hoverinfo": "skip",
        "marker": {
            "color": ["#0072B2" if at < 2 else "#D55E00" for at in range(len(bars))],
            "pattern": {"shape": ["" if at < 2 else "/" for at in range(len(bars))]},
        },
    }
    reach = [-0.1, float(np.log10(max(10, *counts))) + 0.1]
    shape = layout(
        110 + 30 * len(bars),
        "",
        yaxis=axis(autorange="reversed", type="category"),
        xaxis=axis("count, each line ten times the one before", type="log", dtick=1, range=reach),
        hovermode=False,
        showlegend=False,
    )
    reading = (
        "A contract permits an agent to move; one that was refused moved nothing. Hatched bars "
        "are what did not go as agreed: refused contracts, orders and dispatches cut back to a "
        "policy, and moves without a contract, of which there should be 0."
    )
    return Panel("contracts", title, reading, {"data": [bar], "layout": shape})


def _of(metrics: Mapping[str, Any], what: str) -> list[tuple[str, int]]:
    entry = {"refusals": "refusals_by_reason", "violations": "violations_by_rule"}[what]
    return list((metrics[entry] or {}).items())


def lessons(read: Ticks) -> Panel:
    """What agents that learned during the run learned."""
    title = "Learning"
    found = read.run.metrics.get("learning")
    if not read.run.manifest.get("options", {}).get("learn") and found is None:
        why = "Nobody learned during this run (swarm run --learn)."
        return Panel("learning", title, why)
    if not found:
        why = "The figures of learning are written when a run ends."
        return Panel("learning", title, why)
    rows = [(name, f"{value:,.6g}") for name, value in sorted(found.items()) if name != "lessons"]
    reading = (
        f"The agents learned {found.get('lessons', 0):,} times during this run. A run keeps the "
        "mean of each figure over its lessons, not each lesson; a folder of swarm train has curves."
    )
    return Panel("learning", title, reading, after=table(("figure", "mean"), rows))
