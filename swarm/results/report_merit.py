"""The merit order of chosen ticks: supply by price against demand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from swarm.messages import Float, Int
from swarm.results.page import label
from swarm.results.report_lines import OUTSIDE, axis, layout, look
from swarm.results.report_panels import Panel
from swarm.results.report_read import Ticks, columns_of, number, parts

MOST_TICKS = 48
"""Ticks whose merit order is in a page."""
MOST_STEPS = 100
"""Slices of a curve; offers of one kind within a slice are one step at their mean price."""

Step = tuple[float, float, int]
"""MW, price per MWh, index of the kind."""


def chosen_ticks(read: Ticks, alarms: Sequence[int], asked: Sequence[int]) -> dict[int, str]:
    """Ticks worth a look, rising, each with why: asked for, extreme, or evenly spread.

    Args:
        read: the run.
        alarms: ticks in which an emergency was detected.
        asked: ticks that must be among them.
    """
    price, n = read.market["price_milli_per_mwh"], len(read.tick)
    why: dict[int, str] = dict.fromkeys(asked, "asked for")
    if np.isfinite(price).any():
        why.setdefault(int(np.nanargmax(price)), "highest price")
        why.setdefault(int(np.nanargmin(price)), "lowest price")
    why.setdefault(int(np.argmax(read.market["volume_w"])), "most traded")
    for tick in [tick for tick in alarms if tick < n][:10]:
        why.setdefault(tick, "emergency")
    scarce = np.flatnonzero(read.scarce)
    for tick in scarce[np.linspace(0, len(scarce) - 1, min(10, len(scarce))).astype(int)]:
        why.setdefault(int(tick), "scarcity")
    few = n if n <= MOST_TICKS else max(2, MOST_TICKS - len(why))
    spread = np.linspace(0, n - 1, few).astype(int)
    for tick in spread:
        why.setdefault(int(tick), "")
    return dict(sorted(why.items()))


def merit(read: Ticks, kinds: Sequence[str], alarms: Sequence[int], asked: Sequence[int]) -> Panel:
    """The panel in which one picks a tick.

    Args:
        read: the run.
        kinds: kind of each agent in global order.
        alarms: see `chosen_ticks`.
        asked: likewise.

    Raises:
        UsageError: a table is damaged.
    """
    why = chosen_ticks(read, alarms, asked)
    ticks = np.array(list(why), dtype=np.int64)
    names = [*dict.fromkeys(kinds), OUTSIDE]
    code = np.array([names.index(kind) for kind in kinds] + [len(names) - 1], dtype=np.int64)
    ordered = bool(columns_of(read.run, "orders"))
    curves = _of_orders(read, code, ticks) if ordered else _of_costs(read, code, ticks)
    entries = [_entry(read, int(at), curves.get(int(at), ((), ()))) for at in ticks]
    unit = f"{label(read.currency)}/MWh"
    shape = layout(430, unit, xaxis=axis("MW", rangemode="tozero"), hovermode="closest")
    looks = [look(name) for name in names]
    styles = [
        {
            "name": "outside" if name == OUTSIDE else label(name),
            "colour": each["colour"],
            "symbol": each["symbol"],
        }
        for name, each in zip(names, looks, strict=True)
    ]
    figure = {"data": [], "layout": shape, "merit": {"ticks": entries, "kinds": styles}}
    first = _first(why)
    options = "".join(
        f"<option{' selected' if tick == first else ''}>"
        f"{escape(read.clock.words(tick))} (tick {tick}{f', {reason}' if reason else ''})</option>"
        for tick, reason in why.items()
    )
    pick = (
        '<div class="pick"><button type="button" id="merit-before">&#9664; earlier</button>'
        f'<select id="merit-tick" aria-label="tick">{options}</select>'
        '<button type="button" id="merit-after">later &#9654;</button>'
        '<button type="button" id="merit-all" aria-pressed="false">all prices</button></div>'
    )
    return Panel("merit", "Merit order", _reading(read, ordered, len(why)), figure, before=pick)


def _first(why: dict[int, str]) -> int:
    """The tick that is shown first."""
    order = ("asked for", "emergency", "highest price", "most traded")
    return min(why, key=lambda tick: (order.index(why[tick]) if why[tick] in order else 9, tick))


def _reading(read: Ticks, ordered: bool, count: int) -> str:
    more = ""
    if count < len(read.tick):
        whole = f"The page holds {count} of {len(read.tick):,} ticks, extremes and evenly spread"
        more = f"{whole} ones; any other with swarm report --tick N."
    if ordered:
        return (
            "Offers from the cheapest up, coloured by kind; dashed is demand from the dearest bid "
            "down. They cross at the star: all to the left of it trades, at its price. Much alike "
            f"offers of a kind are drawn as one. {more}"
        )
    metrics = read.run.metrics
    sampled = ""
    if metrics.get("agents_table") == "sample":
        sampled = (
            f" They are of the {metrics['agents_in_table']:,} agents in the table of agents, a "
            f"sample of {metrics['agents']:,}, so the curve is shorter than the volume."
        )
    return (
        "This run did not keep its orders (--set results.orders=true does), so these are no "
        "offers: what agents sold, net of what they bought, by the true marginal cost of running "
        "generators; others have no recorded cost and are drawn at 0, imports at the outside "
        "price. The star is volume and price; the volume also counts what agents trade with "
        f"themselves.{sampled} {more}"
    )


Curves = tuple[Sequence[Step], Sequence[Step]]
"""Supply by rising price, demand by falling price."""


def _of_orders(read: Ticks, code: Int, ticks: Int) -> dict[int, Curves]:
    """True merit orders, from the table of orders."""
    columns = ("tick", "agent", "side", "price_milli_per_mwh", "quantity_w")
    found: dict[int, list[tuple[Float, ...]]] = {}
    for part in parts(read.run, "orders", columns, ticks):
        tick, *rest = (number(part[name]) for name in columns)
        for at in np.unique(tick):
            found.setdefault(int(at), []).append(tuple(each[tick == at] for each in rest))
    curves: dict[int, Curves] = {}
    for at, pieces in found.items():
        agent, side, price, watts = (np.concatenate(each) for each in zip(*pieces, strict=True))
        kind = code[np.minimum(agent.astype(np.int64), len(code) - 1)]
        sells = side > 0
        curves[at] = (
            _steps(watts[sells] / 1e6, price[sells] / 1e3, kind[sells]),
            _steps(watts[~sells] / 1e6, price[~sells] / 1e3, kind[~sells], falling=True),
        )
    return curves


def _of_costs(read: Ticks, code: Int, ticks: Int) -> dict[int, Curves]:
    """What was sold by its marginal cost, from the table of agents; no demand."""
    columns = ("tick", "agent", "contract_w", "marginal_cost_milli_per_mwh")
    rows: dict[int, list[tuple[Float, ...]]] = {}
    for part in parts(read.run, "agents", columns, ticks):
        tick, *rest = (number(part[name]) for name in columns)
        for at in np.unique(tick):
            rows.setdefault(int(at), []).append(tuple(each[tick == at] for each in rest))
    curves: dict[int, Curves] = {}
    for at, pieces in rows.items():
        agent, sold_w, cost = (np.concatenate(each) for each in zip(*pieces, strict=True))
        kind = code[np.minimum(agent.astype(np.int64), len(code) - 1)]
        bought_w = read.market["imported_w"][at]
        if bought_w > 0:
            outside = read.market["outside_price_milli_per_mwh"][at]
            kind, sold_w = np.append(kind, code[-1]), np.append(sold_w, bought_w)
            cost = np.append(cost, 0.0 if np.isnan(outside) else outside)
        sells = sold_w > 0
        curves[at] = (_steps(sold_w[sells] / 1e6, cost[sells] / 1e3, kind[sells]), ())
    return curves


def _steps(mw: Float, price: Float, kind: Int, *, falling: bool = False) -> list[Step]:
    """A curve of few steps: within a slice of it, offers of a kind are one at their mean price."""
    keep = mw > 0
    mw, price, kind = mw[keep], price[keep], kind[keep]
    order = np.lexsort((kind, -price if falling else price))
    mw, price, kind = mw[order], price[order], kind[order]
    slices: dict[tuple[int, float, int], list[float]] = {}
    middle = np.cumsum(mw) - mw / 2
    total = float(mw.sum())
    few = len(mw) <= MOST_STEPS
    for at in range(len(mw)):
        cut = 0 if few else int(middle[at] / total * MOST_STEPS)
        # Few offers merge only where they have the same price.
        key = (cut, float(price[at]) if few else 0.0, int(kind[at]))
        held = slices.setdefault(key, [0.0, 0.0])
        held[0] += float(mw[at])
        held[1] += float(mw[at] * price[at])
    steps = [(each[0], each[1] / each[0], key[2]) for key, each in slices.items()]
    return sorted(steps, key=lambda step: (-step[1] if falling else step[1], step[2]))


def _entry(read: Ticks, at: int, curves: Curves) -> dict[str, Any]:
    supply, demand = curves
    price = float(read.market["price_milli_per_mwh"][at]) / 1e3
    volume_mw = float(read.market["volume_w"][at]) / 1e6
    return {
        "price": price if np.isfinite(price) else None,
        "volume": volume_mw,
        "supply": [list(step) for step in supply],
        "demand": [list(step) for step in demand],
        "range": _range(price, volume_mw, supply),
    }


def _range(price: float, volume_mw: float, supply: Sequence[Step]) -> list[float]:
    """Prices around the crossing: bids at the cap would hide it."""
    at, shown = 0.0, [price] if np.isfinite(price) else []
    for mw, step_price, _ in supply:
        if at <= 1.15 * volume_mw or not shown:
            shown.append(step_price)
        at += mw
    low, high = min([0.0, *shown]), max([1.0, *shown])
    return [low - 0.06 * (high - low), high + 0.15 * (high - low)]
