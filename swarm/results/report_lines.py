"""Lines of a report: thinned where a screen cannot show them, told apart without colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from swarm.messages import Float, Int
from swarm.results.page import COLOURS, DASHES, SYMBOLS, label
from swarm.results.report_read import Clock

MOST_POINTS = 2000
"""Points of a line; from longer ones the least and the highest value of each bucket stay."""
PATTERNS = ("/", ".", "\\", "x", "-", "+", "|")
OUTSIDE, BALANCING = "outside", "balancing"
_PLACES = ("home", "generator", "storage", "ev", "solar", "wind", "consumer")
_GREY = "#6b6b6b"


def look(kind: str) -> dict[str, str]:
    """Colour, dash, symbol and pattern of an agent kind, the same in every plot.

    A kind that is not known here has those of one that is, by the letters of its name.
    """
    if kind in (OUTSIDE, BALANCING):
        pattern = "" if kind == OUTSIDE else "x"
        return {"colour": _GREY, "dash": "dash", "symbol": "hexagon", "pattern": pattern}
    known = kind in _PLACES
    at = _PLACES.index(kind) if known else sum(kind.encode()) % len(_PLACES)
    return {
        "colour": COLOURS[at],
        "dash": DASHES[at],
        "symbol": SYMBOLS[at],
        "pattern": PATTERNS[at],
    }


def thinned(values: Float, most: int = MOST_POINTS) -> Int:
    """Indices of the points to draw, rising: all, or the extremes of `most // 2` buckets.

    Args:
        values: float64 (n,); NaN where nothing is known.
        most: points at most.
    """
    n = len(values)
    if n <= most:
        return np.arange(n)
    size = -(-n // (most // 2))
    padded = np.full(-(-n // size) * size, np.nan)
    padded[:n] = values
    buckets = padded.reshape(-1, size)
    first = np.arange(len(buckets)) * size
    low = first + np.argmin(np.where(np.isnan(buckets), np.inf, buckets), axis=1)
    high = first + np.argmax(np.where(np.isnan(buckets), -np.inf, buckets), axis=1)
    chosen = np.unique(np.concatenate([low, high, [0, n - 1]]))
    return chosen[chosen < n]


def bucket_size(ticks: int, minutes: int, most: int = MOST_POINTS) -> int:
    """Ticks of a bucket such that there are `most` at most: 1, an hour, a day, or a week if it can.

    Args:
        ticks: of the run.
        minutes: length of a tick.
        most: buckets at most.
    """
    for length in (minutes, 60, 24 * 60, 7 * 24 * 60):
        if length % minutes == 0 and ticks * minutes <= most * length:
            return length // minutes
    return -(-ticks // most)


def means(values: Float, size: int) -> Float:
    """Mean of each bucket of `size` ticks, so that energy is kept; the last may be shorter."""
    if size == 1:
        return values
    starts = np.arange(0, len(values), size)
    counts = np.diff(np.append(starts, len(values)))
    found: Float = np.add.reduceat(values, starts) / counts
    return found


def line(clock: Clock, tick: Int, values: Float, name: str, **more: Any) -> dict[str, Any]:
    """A line over time as plotly takes it.

    Args:
        clock: of the ticks.
        tick: int64 (n,), each one more than the one before.
        values: float64 (n,); NaN leaves a gap.
        name: in the legend.
        more: further entries of the trace.
    """
    keep = thinned(values)
    trace: dict[str, Any] = {**_drawn(len(values)), "name": label(name), **more}
    if len(keep) == len(values):
        trace |= evenly(clock, tick, 1)
    else:
        trace["x"] = [clock.at(tick[at]) for at in keep]
    return {**trace, "y": values[keep].tolist()}


def mean_line(clock: Clock, tick: Int, values: Float, name: str, **more: Any) -> dict[str, Any]:
    """As `line`, of the means that `areas` shows."""
    size = bucket_size(len(tick), clock.minutes)
    trace = {**_drawn(len(values)), "name": label(name), **more}
    return {**trace, **evenly(clock, tick, size), "y": means(values, size).tolist()}


def span(clock: Clock, ticks: int) -> str:
    """A sentence on what `areas` shows of so many ticks; empty where it shows each."""
    size = bucket_size(ticks, clock.minutes)
    return "" if size == 1 else f" Each point is the mean of {size * clock.minutes / 60:,.4g} h."


def _drawn(points: int) -> dict[str, str]:
    """A line; one point alone has no line and needs a mark."""
    return {"type": "scatter", "mode": "lines" if points > 1 else "lines+markers"}


def evenly(clock: Clock, tick: Int, size: int) -> dict[str, Any]:
    """Times of buckets of `size` ticks: plotly counts them up from the first."""
    return {"x0": clock.at(tick[0]) if len(tick) else None, "dx": clock.minutes * 60_000 * size}


def areas(
    clock: Clock, tick: Int, layers: Mapping[str, Float], suffix: str
) -> list[dict[str, Any]]:
    """Areas on top of each other, one of each kind that is not 0 throughout.

    Args:
        clock: of the ticks.
        tick: as of `line`.
        layers: kind or `outside` -> float64 (n,), at least 0.
        suffix: of the names of what comes from outside, e.g. `imports`.
    """
    size = bucket_size(len(tick), clock.minutes)
    found = []
    for kind, values in layers.items():
        if not np.any(values):
            continue
        style = look(kind)
        found.append(
            {
                **_drawn(len(values)),
                "name": suffix if kind == OUTSIDE else label(kind),
                "stackgroup": "one",
                "line": {"width": 0.5, "color": style["colour"]},
                "fillpattern": {
                    "shape": style["pattern"],
                    "fgcolor": style["colour"],
                    "bgcolor": style["colour"] + "55",
                    "size": 7,
                    "solidity": 0.35,
                },
                **evenly(clock, tick, size),
                "y": means(values, size).tolist(),
            }
        )
    return found


def layout(height: int, y_title: str, **more: Any) -> dict[str, Any]:
    """Layout of a plot with one vertical axis.

    Args:
        height: px.
        y_title: of the vertical axis, with its unit.
        more: further entries.
    """
    return {
        "height": height,
        "font": {"color": "#1a1a1a", "size": 13},
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "margin": {"l": 10, "r": 16, "t": 24, "b": 36},
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "hoverlabel": {"namelength": -1},
        "hovermode": "x unified",
        "xaxis": axis(),
        "yaxis": axis(y_title),
        **more,
    }


def times(clock: Clock, ticks: int, **more: Any) -> dict[str, Any]:
    """A horizontal axis from the start of the first of `ticks` ticks to the end of the last."""
    return axis(type="date", range=[clock.at(0), clock.at(ticks)], **more)


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """An axis with light lines and room for its labels."""
    named = {"title": {"text": title, "standoff": 8}} if title else {}
    lines = {"gridcolor": "#e2e2e2", "zerolinecolor": "#8a8a8a", "linecolor": "#8a8a8a"}
    return {"automargin": True, **lines, **named, **more}
