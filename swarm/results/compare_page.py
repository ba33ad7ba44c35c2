"""The page of a comparison: tables and plots in one HTML file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from swarm.results.compare import Row
from swarm.results.page import COLOURS, SYMBOLS, bullets, document, label, plot, table

COLUMNS = 3

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, header, rows."""


def page(
    summary: Mapping[str, Any],
    rows: Sequence[Row],
    title: str,
    facts: Sequence[str],
    tables: Sequence[Table],
    failures: Sequence[str],
) -> str:
    """The page as HTML, a function of its arguments alone.

    Args:
        summary: see `swarm.runtime.compare.Comparison.summary`.
        rows: the runs.
        title: of the page.
        facts: sentences under it.
        tables: title, header and rows of each.
        failures: a line for each run that failed.
    """
    measured = {name: each for name, each in summary["metrics"].items() if each["policies"]}
    parts = [f"<h1>{escape(title)}</h1>", bullets(facts)]
    if failures:
        parts += ["<h2>Failed</h2>", bullets(failures)]
    if measured:
        parts += ["<h2>Every run</h2>", f"<p>{HOW_RUNS}</p>", _runs_plot(summary, measured, rows)]
        compared = [
            each["against"] for metric in measured.values() for each in metric["comparisons"]
        ]
        for other in dict.fromkeys(compared):
            parts += [_chances_plot(summary, measured, other)]
    for name, header, cells in tables:
        parts += [f"<h2>{escape(name)}</h2>", table(header, cells)]
    meanings = [
        (metric["title"], metric["better"] or "-", metric["definition"])
        for metric in summary["metrics"].values()
    ]
    parts += ["<h2>What the figures are</h2>", table(("figure", "better", "meaning"), meanings)]
    return document(title, "\n".join(parts), "swarm compare")


HOW_RUNS = (
    "A small mark is a run; the bar is the bootstrap interval of the interquartile mean, which is "
    "the large mark."
)
HOW_CHANCES = (
    "The chance that a run is better than one of the other policy on the same day; at 0.5 neither "
    "is, and an interval across 0.5 shows no difference. An interval of one point says that one "
    "policy won every time, not that it always would."
)


def _runs_plot(summary: Mapping[str, Any], measured: Mapping[str, Any], rows: Sequence[Row]) -> str:
    policies: list[str] = summary["policies"]
    across = -(-len(measured) // COLUMNS)
    figure = make_subplots(
        rows=across,
        cols=COLUMNS,
        subplot_titles=[_titled(metric) for metric in measured.values()],
        vertical_spacing=0.36 / across,
        horizontal_spacing=0.05,
        shared_yaxes=True,
    )
    seeds = {seed: at for at, seed in enumerate(summary["seeds"])}
    for at, (name, metric) in enumerate(measured.items()):
        place = {"row": at // COLUMNS + 1, "col": at % COLUMNS + 1}
        scale = 100.0 if metric["unit"] == "share" else 1.0
        for height, policy in enumerate(policies):
            style = {"legendgroup": policy, "name": label(policy), "showlegend": False}
            looks = {"color": COLOURS[height % 7], "symbol": SYMBOLS[height % 7]}
            runs = [row for row in rows if row.policy == policy]
            known = [row for row in runs if row.figures[name] is not None]
            figure.add_trace(
                go.Scatter(
                    x=[scale * (row.figures[name] or 0.0) for row in known],
                    # Seeds lie above each other, so that equal runs stay visible.
                    y=[height - 0.12 - 0.25 * seeds[row.seed] / len(seeds) for row in known],
                    text=[f"seed {row.seed}, {row.day}" for row in known],
                    hovertemplate="%{x:,.6g}<br>%{text}",
                    mode="markers",
                    marker={**looks, "size": 6, "opacity": 0.55},
                    **style,
                ),
                **place,
            )
            about = metric["policies"].get(policy)
            if about is not None:
                figure.add_trace(
                    _bar(about["iqm"], about, scale, height + 0.18, looks, style), **place
                )
        figure.update_yaxes(
            tickvals=list(range(len(policies))),
            ticktext=[label(policy) for policy in policies],
            range=[len(policies) - 0.5, -0.5],
            showgrid=False,
            **place,
        )
    height = 80 + across * (95 + 45 * len(policies))
    return _drawn(figure, "runs", height, "Every run by figure and policy, as in the tables below.")


def _chances_plot(summary: Mapping[str, Any], measured: Mapping[str, Any], other: str) -> str:
    judged = [metric for metric in measured.values() if metric["better"]]
    entries = [
        {each["policy"]: each for each in metric["comparisons"] if each["against"] == other}
        for metric in judged
    ]
    others = [policy for policy in summary["policies"] if any(policy in each for each in entries)]
    figure = go.Figure()
    for at, policy in enumerate(others):
        place = summary["policies"].index(policy) % 7
        looks = {"color": COLOURS[place], "symbol": SYMBOLS[place]}
        for height, entry in enumerate(entries):
            if policy not in entry:
                continue
            chance = entry[policy]["probability_of_improvement"]
            offset = 0.5 * (at + 0.5) / len(others) - 0.25
            style = {"legendgroup": policy, "name": label(policy), "showlegend": height == 0}
            figure.add_trace(_bar(chance["value"], chance, 1.0, height + offset, looks, style))
    figure.update_yaxes(
        tickvals=list(range(len(judged))),
        ticktext=[metric["title"] for metric in judged],
        range=[len(judged) - 0.5, -0.5],
        showgrid=False,
    )
    figure.update_xaxes(range=[-0.02, 1.02], dtick=0.25)
    figure.add_vline(x=0.5, line={"color": "#555", "dash": "dash", "width": 1})
    head = f"<h2>Chance of improvement over {escape(other)}</h2>"
    name = f"chances-{summary['policies'].index(other)}"
    height = 110 + len(judged) * (16 + 16 * len(others))
    spoken = f"Chance of improvement over {other} by figure, as in the tables below."
    drawn = _drawn(figure, name, height, spoken)
    return f"{head}\n<p>{HOW_CHANCES}</p>\n{drawn}"


def _bar(
    value: float,
    interval: Mapping[str, float],
    scale: float,
    height: float,
    looks: Mapping[str, Any],
    style: Mapping[str, Any],
) -> Any:
    """A value with its interval at one height."""
    low, high = interval["low"], interval["high"]
    return go.Scatter(
        x=[scale * value],
        y=[height],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [scale * (high - value)],
            "arrayminus": [scale * (value - low)],
            "color": looks["color"],
            "thickness": 3,
            "width": 5,
        },
        text=[f"[{scale * low:,.6g}, {scale * high:,.6g}]"],
        hovertemplate="%{x:,.6g} %{text}",
        mode="markers",
        marker={**looks, "size": 11, "line": {"color": "#fff", "width": 1}},
        **style,
    )


def _titled(metric: Mapping[str, Any]) -> str:
    unit = "%" if metric["unit"] == "share" else metric["unit"]
    better = {"higher": "higher is better", "lower": "lower is better", None: "neither is better"}
    return f"<b>{metric['title']}</b>, {unit}<br><sup>{better[metric['better']]}</sup>"


def _drawn(figure: Any, name: str, height: int, spoken: str) -> str:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 10, "r": 20, "t": 60, "b": 40},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
        hoverlabel={"namelength": -1},
    )
    figure.update_xaxes(automargin=True, nticks=6)
    figure.update_yaxes(automargin=True, zeroline=False)
    return plot(name, json.loads(figure.to_json()), spoken, least_px=720)
