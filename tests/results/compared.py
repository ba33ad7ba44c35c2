"""Runs of a comparison made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarm.results.compare import Row, pairs_of, summarize
from swarm.results.compare_metrics import METRICS


def row(policy: str, seed: int, day: str = "2025-06-18", **values: float | None) -> Row:
    """A run whose figures are 0 but for `values`."""
    found: dict[str, float | None] = dict.fromkeys((metric.name for metric in METRICS), 0.0)
    return Row("s", policy, seed, day, f"{policy}{seed}{day}", found | values, 1.0)


def summary_of(
    rows: list[Row], policies: tuple[str, ...] = ("a", "b"), **about: Any
) -> dict[str, Any]:
    """What `Comparison.summary` gives of these rows, but for `about`."""
    return {
        "scenario": "s",
        "ticks": 12,
        "currency": "EUR",
        "operator": None,
        "policies": list(policies),
        "seeds": sorted({each.seed for each in rows}),
        "days": sorted({each.day for each in rows}),
        "days_are": "given",
        "not_held_out": {},
        "learned": [],
        "trained": None,
        "notes": [],
        "lost_load_value_per_mwh": 3000.0,
        "confidence": 0.95,
        "resamples": 10_000,
        "runs": {"planned": len(rows), "finished": len(rows)},
        "failures": [],
        "metrics": summarize(rows, policies, pairs_of(policies, None), "EUR"),
        **about,
    }


def against(summary: Mapping[str, Any], name: str, policy: str, other: str) -> dict[str, Any]:
    """How two policies compare by one metric."""
    found: list[dict[str, Any]] = [
        each
        for each in summary[name]["comparisons"]
        if (each["policy"], each["against"]) == (policy, other)
    ]
    assert len(found) == 1
    return found[0]
