"""Panels of a report that every run has: price, dispatch, batteries, profit, emissions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from swarm.messages import Float
from swarm.results.page import label
from swarm.results.report_lines import (
    BALANCING,
    OUTSIDE,
    areas,
    axis,
    layout,
    line,
    look,
    mean_line,
    span,
    times,
)
from swarm.results.report_read import Ticks


@dataclass(frozen=True)
class Panel:
    """One part of a page.

    Attributes:
        name: its id in the page.
        title: its heading.
        reading: how to read it; of an empty panel, why it is empty.
        figure: see `swarm.results.page.plot`; None: there is none.
        before: HTML between the sentence and the figure.
        after: HTML below.
    """

    name: str
    title: str
    reading: str
    figure: Mapping[str, Any] | None = None
    before: str = ""
    after: str = ""

    @property
    def empty(self) -> bool:
        """There is nothing to show."""
        return self.figure is None and not self.after


def price(read: Ticks) -> Panel:
    """Clearing price, outside price and volume."""
    clock, tick, market = read.clock, read.tick, read.market
    price_per_mwh = market["price_milli_per_mwh"] / 1e3
    unit = f"{label(read.currency)}/MWh"
    step = {"line": {"color": "#0072B2", "width": 2, "shape": "hv"}}
    data = [line(clock, tick, price_per_mwh, "clearing price", **step)]
    outside = market["outside_price_milli_per_mwh"] / 1e3
    if np.isfinite(outside).any():
        dotted = {"line": {"color": "#D55E00", "width": 1.5, "dash": "dot", "shape": "hv"}}
        data.append(line(clock, tick, outside, "price outside", **dotted))
    scarce = np.flatnonzero(read.scarce)[:500]
    if len(scarce):
        marks = {"symbol": "x", "size": 8, "color": "#000"}
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "scarcity",
                "marker": marks,
                "x": [clock.at(tick[at]) for at in scarce],
                "y": price_per_mwh[scarce].tolist(),
            }
        )
    volume = line(clock, tick, market["volume_w"] / 1e6, "volume", yaxis="y2")
    data.append(volume | {"line": {"color": "#000", "width": 1, "shape": "hv"}, "fill": "tozeroy"})
    data[-1]["fillcolor"] = "#0000001a"
    spread = {
        "yaxis": axis(unit, domain=[0.38, 1]),
        "yaxis2": axis("MW", domain=[0, 0.28], rangemode="tozero"),
        "xaxis": times(clock, len(tick), anchor="y2"),
    }
    figure = {"data": data, "layout": layout(470, unit, **spread, **_zooms(price_per_mwh))}
    reading = (
        "Above: what a MWh cost in each tick; a gap is a tick without trade, and a cross one in "
        "which supply ran out and a bid that was not served set the price. Below: the power that "
        "was traded."
    )
    return Panel("price", "Price and volume", reading, figure)


def _zooms(values: Float) -> dict[str, Any]:
    """Two buttons where a few prices hide all others."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    low, high = (float(np.quantile(known, share)) for share in (0.05, 0.9))
    reach = max(high - low, 1.0)
    if known.max() - known.min() < 3 * reach:
        return {}
    usual = [low - 0.1 * reach, high + 0.1 * reach]
    buttons = [
        {"label": "all prices", "method": "relayout", "args": [{"yaxis.autorange": True}]},
        {
            "label": "usual prices",
            "method": "relayout",
            "args": [{"yaxis.range": usual, "yaxis.autorange": False}],
        },
    ]
    place = {"x": 1, "xanchor": "right", "y": 0.33, "yanchor": "middle", "direction": "right"}
    return {"updatemenus": [{"type": "buttons", "showactive": True, "buttons": buttons, **place}]}


def dispatch(read: Ticks) -> Panel:
    """What met the load, by kind."""
    clock, tick, grid = read.clock, read.tick, read.grid
    layers = {
        kind: (columns["generation_w"] + columns["discharge_w"]) / 1e6
        for kind, columns in read.kinds.items()
    }
    layers[OUTSIDE] = grid["import_w"] / 1e6
    scheduled_mw = sum(layers[kind] for kind in read.kinds)
    physical_mw = (grid["generation_w"] + grid["discharge_w"]) / 1e6
    balancing_mw = np.maximum(physical_mw - scheduled_mw, 0.0)
    if balancing_mw.max(initial=0.0) > 1e-3 * physical_mw.max(initial=0.0):
        layers[BALANCING] = balancing_mw
    data = areas(clock, tick, layers, "imports")
    load_mw = grid["load_w"] / 1e6
    black = {"line": {"color": "#000", "width": 2}}
    data.append(mean_line(clock, tick, load_mw, "load", **black))
    more_mw = (grid["load_w"] + grid["charge_w"] + grid["export_w"]) / 1e6
    if np.any(more_mw > load_mw):
        dashed = {"line": {"color": "#000", "width": 1.5, "dash": "dash"}}
        data.append(mean_line(clock, tick, more_mw, "load, charging, exports", **dashed))
    if np.any(grid["unserved_w"]):
        dotted = {"line": {"color": "#D55E00", "width": 2, "dash": "dot"}}
        data.append(mean_line(clock, tick, grid["unserved_w"] / 1e6, "not served", **dotted))
    reading = (
        "The areas on top of each other are supply: generation and discharge of each kind as "
        "scheduled, imports, and what balancing inside the tick added. Black is the load; the "
        "dashed line adds what batteries charge and what is exported."
        f"{span(clock, len(tick))}"
    )
    figure = {
        "data": data,
        "layout": layout(
            430, "MW", xaxis=times(clock, len(tick)), yaxis=axis("MW", rangemode="tozero")
        ),
    }
    return Panel("dispatch", "Who met the load", reading, figure)


def batteries(read: Ticks, capacity_mwh: Mapping[str, float]) -> Panel:
    """State of charge by kind."""
    data = []
    for kind, columns in read.kinds.items():
        size_mwh = capacity_mwh.get(kind, 0.0)
        if size_mwh <= 0:
            continue
        percent = 100 * columns["stored_mwh"] / size_mwh
        data.append(kind_line(read, kind, percent, f"{kind}, {size_mwh:,.3g} MWh"))
    title = "State of charge"
    if not data:
        return Panel("batteries", title, "No agent of this run has a battery.")
    reading = (
        "Energy in all batteries of a kind, as a share of what they can hold, which the legend "
        "gives. Vehicles on the road are in it with what they left with."
    )
    xaxis = times(read.clock, len(read.tick))
    scaled = axis("% of capacity", range=[0, 102])
    figure = {"data": data, "layout": layout(330, "% of capacity", xaxis=xaxis, yaxis=scaled)}
    return Panel("batteries", title, reading, figure)


def profits(read: Ticks) -> Panel:
    """Profit of each kind since the start."""
    money = label(read.currency)
    data = []
    for kind, columns in read.kinds.items():
        earned = np.cumsum(columns["received_micro"] - columns["cost_micro"]) / 1e6
        if np.any(earned):
            data.append(kind_line(read, kind, earned, kind))
    if not data:
        return Panel("profits", "Profit by kind", "Nobody earned or paid anything.")
    reading = (
        "Payments received less true cost, summed from the start. A load pays, so its line falls: "
        "the value of what it consumes is not counted."
    )
    xaxis = times(read.clock, len(read.tick))
    return Panel(
        "profits",
        "Profit by kind",
        reading,
        {"data": data, "layout": layout(380, money, xaxis=xaxis)},
    )


def emissions(read: Ticks) -> Panel:
    """CO2 by kind and of imports."""
    tonnes = {kind: columns["emissions_g"] / 1e6 for kind, columns in read.kinds.items()}
    total = read.run.metrics.get("emissions_tonnes")
    imports_w = read.grid["import_w"]
    note = ""
    if total is not None and imports_w.any():
        # Imports emit in proportion to energy, so the rest of the total is theirs.
        rest = total - sum(float(values.sum()) for values in tonnes.values())
        tonnes[OUTSIDE] = np.maximum(rest, 0.0) * imports_w / imports_w.sum()
    elif imports_w.any():
        note = " What imports emitted is not known for a run that did not finish."
    per_hour = {kind: values * 60 / read.clock.minutes for kind, values in tonnes.items()}
    data = areas(read.clock, read.tick, per_hour, "imports")
    title = "Emissions"
    if not data:
        return Panel("emissions", title, f"Nothing emitted CO2.{note}")
    reading = f"Tonnes of CO2 per hour, the sources on top of each other.{note}"
    reading += span(read.clock, len(read.tick))
    figure = {
        "data": data,
        "layout": layout(330, "t CO2/h", xaxis=times(read.clock, len(read.tick))),
    }
    return Panel("emissions", title, reading, figure)


def kind_line(read: Ticks, kind: str, values: Float, name: str) -> dict[str, Any]:
    """A line in the look of a kind, with its symbol along it."""
    style = look(kind)
    trace = line(read.clock, read.tick, values, name)
    # A few symbols on the way say which line is which without colour.
    return {
        **trace,
        "mode": "lines+markers",
        "cliponaxis": False,
        "line": {"color": style["colour"], "dash": style["dash"], "width": 2},
        "marker": {
            "symbol": style["symbol"],
            "color": style["colour"],
            "size": 9,
            "maxdisplayed": 8,
        },
    }
