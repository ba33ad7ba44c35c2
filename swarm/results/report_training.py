"""Learning curves: what a training wrote of its episodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from swarm.errors import UsageError
from swarm.results.page import COLOURS, DASHES, SYMBOLS, label
from swarm.results.report_lines import MOST_POINTS, axis, layout
from swarm.results.report_panels import Panel
from swarm.results.run import MANIFEST
from swarm.results.training import METRICS

MOST_MARKED = 60
"""Episodes that are marked one by one."""


def read_training(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Manifest of a training, and the figures of its episodes in order.

    Raises:
        UsageError: one of them is missing or damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        rows = pq.read_table(folder / METRICS, page_checksum_verification=True).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(f"{folder}: a damaged training: {said}") from None
    if not isinstance(manifest, dict) or any("episode" not in row for row in rows):
        raise UsageError(f"{folder}: not a training: {MANIFEST} or {METRICS} is something else")
    return manifest, rows


def curves(rows: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """Panels of the figures of a training, one for each family of names (`reward/storage`).

    Args:
        rows: see `read_training`; a figure that an episode lacks is None.
    """
    names = sorted({name for row in rows for name in row} - {"episode"})
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(name.split("/")[0], []).append(name)
    first = [family for family in ("score", "reward") if family in families]
    ordered = dict.fromkeys([*first, *sorted(families)])
    panels = []
    for at, family in enumerate(ordered):
        data = []
        for place, name in enumerate(families[family]):
            known = [(row["episode"], row[name]) for row in rows if row.get(name) is not None]
            known = known[:: -(-len(known) // MOST_POINTS) or 1]
            colour, dash = COLOURS[place % 7], DASHES[place % 7]
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(known) < MOST_MARKED else "lines",
                    "name": label(name.removeprefix(f"{family}/")),
                    "x": [episode for episode, _ in known],
                    "y": [value for _, value in known],
                    "line": {"color": colour, "dash": dash, "width": 2},
                    "marker": {"symbol": SYMBOLS[place % 7], "size": 8},
                }
            )
        shape = layout(300, label(family), xaxis=axis("episode"), showlegend=len(data) > 1)
        words = READINGS.get(family, "As the training wrote it, for each episode.")
        title = family.replace("_", " ").capitalize().replace("mwh", "MWh")
        figure = {"data": data, "layout": shape}
        panels.append(Panel(f"curve-{at}", title, words, figure))
    return panels


READINGS = {
    "score": "Mean reward of the kinds that learn, without exploration, on days and seeds kept for "
    "validation; higher is better. The policies of the best one are kept.",
    "reward": "Mean reward of a decision in training, by kind, exploration included; higher is "
    "better.",
    "loss": "What the learners minimise. It need not fall: its target moves.",
    "epsilon": "Share of decisions that are made at random, to explore.",
    "price_per_mwh": "Mean clearing price of the episode, per MWh.",
    "agent_steps": "Decisions of agents in the episode.",
}
"""How to read a family of figures."""
