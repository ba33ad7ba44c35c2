"""Panels of the physical grid: frequency, one disturbed interval, voltage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from swarm.agents.view import nominal_hz
from swarm.messages import Float
from swarm.results.page import SYMBOLS, label
from swarm.results.report_lines import axis, bucket_size, evenly, layout, line, times
from swarm.results.report_panels import Panel
from swarm.results.report_read import Ticks, number, parts
from swarm.results.summary import EVENT_WORDS, story

MOST_TOLD = 20
"""Events told in words; all stand in the table of events."""
MOST_ROWS, MOST_COLUMNS = 60, 200
"""Cells of the heat map: more buses or ticks share one, which shows the worst of them."""
BLUE_WHITE_ORANGE = [[0.0, "#0072B2"], [0.5, "#ffffff"], [1.0, "#D55E00"]]
BAND_PU = 0.05
MARK = {"size": 10, "color": "#D55E00", "line": {"color": "#000", "width": 1}}


def frequency(read: Ticks, events: Sequence[Mapping[str, Any]]) -> Panel:
    """Frequency of every tick, with the events inside."""
    title = "Frequency and events"
    low, high = read.grid["frequency_min_hz"], read.grid["frequency_max_hz"]
    if not np.isfinite(low).any():
        why = "The scenario has no grid section, so frequency was not simulated."
        return Panel("frequency", title, why)
    clock, tick, mean = read.clock, read.tick, read.grid["frequency_mean_hz"]
    nominal = nominal_hz(float(mean[np.isfinite(mean)][0]))
    band = 0.1 * nominal / 50
    size = bucket_size(len(tick), clock.minutes)
    starts, spread = np.arange(0, len(tick), size), evenly(clock, tick, size)
    thin = {"type": "scatter", "mode": "lines", "line": {"color": "#0072B2", "width": 1}, **spread}
    filled = {"fill": "tonexty", "fillcolor": "rgba(0,114,178,0.25)"}
    data = [
        {**thin, "name": "lowest", "y": np.fmin.reduceat(low, starts).tolist()},
        {**thin, "name": "highest", "y": np.fmax.reduceat(high, starts).tolist(), **filled},
        line(clock, tick, mean, "mean", line={"color": "#000", "width": 2}),
    ]
    if events:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "event",
                "x": [clock.at(event["tick"], event["second"]) for event in events],
                "y": [event["frequency_hz"] for event in events],
                "text": [label(_words(event["step"])) for event in events],
                "marker": MARK | {"symbol": "diamond"},
            }
        )
    edges = [_edge(nominal + sign * band) for sign in (-1, 1)]
    figure = {
        "data": data,
        "layout": layout(380, "Hz", xaxis=times(clock, len(tick)), shapes=edges),
    }
    reading = (
        f"Lowest, mean and highest frequency of each tick; dashed: {band:.2g} Hz around "
        f"{nominal:.0f} Hz, the usual band. It falls where supply is short. "
        "Marks are the events that are listed below."
    )
    told = story(events[:MOST_TOLD], clock.start.isoformat(), clock.minutes)
    if len(tick) * clock.minutes > 24 * 60:
        days = (clock.words(event["tick"])[:10] for event in events)
        told = [f"{day} {words}" for day, words in zip(days, told, strict=False)]
    after = ""
    if told:
        lines = "\n".join(escape(each) for each in told)
        after = f'<div class="scroll"><pre>{lines}</pre></div>'
    if len(events) > MOST_TOLD:
        after += "<p>All events stand in the table of events.</p>"
    return Panel("frequency", title, reading, figure, after=after)


def _words(step: str) -> str:
    """What a step of an event is called."""
    return EVENT_WORDS.get(step, step.replace("_", " ")).split(";")[0]


def _edge(height: float, **more: Any) -> dict[str, Any]:
    dashed = {"color": "#555", "width": 1, "dash": "dash"}
    return {
        **{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": height, "y1": height},
        "line": dashed,
        **more,
    }


def disturbed(read: Ticks, events: Sequence[Mapping[str, Any]]) -> Panel | None:
    """Frequency inside the interval in which it went farthest; None where none was disturbed.

    Raises:
        UsageError: the table is damaged.
    """
    low, high = read.grid["frequency_min_hz"], read.grid["frequency_max_hz"]
    mean = read.grid["frequency_mean_hz"]
    if not np.isfinite(low).any():
        return None
    nominal = nominal_hz(float(mean[np.isfinite(mean)][0]))
    off = np.nan_to_num(np.maximum(nominal - low, high - nominal), nan=-1.0)
    worst = int(np.argmax(off))
    rows = list(parts(read.run, "trace", ("second", "frequency_hz"), np.array([worst])))
    if not any(len(part) for part in rows):
        return None
    second, hertz = (
        np.concatenate([number(part[name]) for part in rows]) for name in ("second", "frequency_hz")
    )
    blue = {"color": "#0072B2", "width": 2}
    trace = {"type": "scatter", "mode": "lines", "name": "frequency", "line": blue}
    data: list[dict[str, Any]] = [{**trace, "x": second.tolist(), "y": hertz.tolist()}]
    inside = [event for event in events if event["tick"] == worst]
    for at, step in enumerate(dict.fromkeys(str(event["step"]) for event in inside)):
        of_step = [event for event in inside if event["step"] == step]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label(_words(step)),
                "x": [event["second"] for event in of_step],
                "y": [event["frequency_hz"] for event in of_step],
                "marker": MARK | {"symbol": SYMBOLS[at % len(SYMBOLS)]},
            }
        )
    # Most happens in the first seconds of a long interval.
    shown_s = max(60.0, 1.3 * max((event["second"] for event in inside), default=0.0))
    seconds = axis("s from the start of the tick", range=[-2, min(shown_s, float(second[-1]))])
    shape = layout(380, "Hz", xaxis=seconds)
    reading = (
        f"Frequency inside the tick in which it went farthest from {nominal:.0f} Hz: tick "
        f"{worst}, {read.clock.words(worst)}. Marks are what happened, in the order of the legend."
    )
    return Panel("disturbed", "The largest disturbance", reading, {"data": data, "layout": shape})


def voltage(read: Ticks) -> Panel:
    """Voltage of every bus over time.

    Raises:
        UsageError: the table is damaged.
    """
    title = "Voltage"
    size = -(-len(read.tick) // MOST_COLUMNS)
    names, worst = _worst(read, size)
    if not names:
        why = "The scenario has no grid.feeder, so there are no voltages."
        return Panel("voltage", title, why)
    reach = max(0.02, float(np.nanmax(np.abs(worst - 1.0))))
    columns = worst.shape[1]
    heat = {
        "type": "heatmap",
        "z": worst.tolist(),
        "y": names,
        "x": [read.clock.at(at * size) for at in range(columns)],
        "colorscale": BLUE_WHITE_ORANGE,
        "zmin": 1 - reach,
        "zmax": 1 + reach,
        "colorbar": {"title": {"text": "pu"}, "thickness": 12, "len": 0.62, "y": 0.68},
        "hovertemplate": "bus %{y}<br>%{x}<br>%{z:.4f} pu<extra></extra>",
    }
    low, high = read.grid["voltage_min_pu"], read.grid["voltage_max_pu"]
    over = {"xaxis": "x", "yaxis": "y2"}
    blue, orange = {"color": "#0072B2", "width": 2}, {"color": "#D55E00", "width": 2, "dash": "dot"}
    data = [
        heat,
        line(read.clock, read.tick, low, "lowest of all buses", line=blue, **over),
        line(read.clock, read.tick, high, "highest of all buses", line=orange, **over),
    ]
    rows = axis("bus", type="category", domain=[0.38, 1], autorange="reversed", nticks=12)
    shape = layout(
        520,
        "bus",
        yaxis=rows,
        yaxis2=axis("pu", domain=[0, 0.28]),
        xaxis=times(read.clock, len(read.tick), anchor="y2"),
        shapes=[_edge(1 + sign * BAND_PU, yref="y2") for sign in (-1, 1)],
        hovermode="closest",
    )
    shared = " Where buses or ticks share a cell, it shows the farthest from 1." * (
        size > 1 or len(names) == MOST_ROWS
    )
    reading = (
        "Each row is a bus from the feeder's head down: blue is below nominal, white nominal, "
        f"orange above.{shared} The lines below show the same without colour; dashed: 5 % around "
        "nominal."
    )
    return Panel("voltage", title, reading, {"data": data, "layout": shape})


def _worst(read: Ticks, size: int) -> tuple[list[str], Float]:
    """Names of rows, and the voltage farthest from 1, float64 (rows, columns); NaN: unknown."""
    names: list[str] = []
    columns = -(-len(read.tick) // size)
    worst = np.zeros((0, columns))
    group = 1
    for part in parts(read.run, "buses", ("tick", "bus", "voltage_pu")):
        if not names and len(part):
            ticks = part["tick"].to_numpy()
            buses = part["bus"].to_pylist()[: int(np.argmax(ticks != ticks[0])) or len(ticks)]
            group = -(-len(buses) // MOST_ROWS)
            names = [
                label(buses[at] if group == 1 else f"{buses[at]} to {last}")
                for at in range(0, len(buses), group)
                for last in (buses[min(at + group, len(buses)) - 1],)
            ]
            place = {bus: at // group for at, bus in enumerate(buses)}
            worst = np.full((len(names), columns), np.nan)
        row = np.array([place.get(bus, -1) for bus in part["bus"].to_pylist()], dtype=np.int64)
        column = part["tick"].to_numpy() // size
        off = number(part["voltage_pu"]) - 1.0
        known = np.isfinite(off) & (row >= 0) & (column < columns)
        # Small ones first: the last write of a cell stays.
        order = np.flatnonzero(known)
        order = order[np.argsort(np.abs(off[order]), kind="stable")]
        block = np.full_like(worst, np.nan)
        block[row[order], column[order]] = 1.0 + off[order]
        farther = ~(np.abs(block - 1.0) <= np.abs(worst - 1.0)) & ~np.isnan(block)
        worst[farther] = block[farther]
    return names, worst
