"""Policies compared on the same seeds and days: one row for each run, and honest statistics.

Interquartile mean, bootstrap interval and probability of improvement as in Agarwal, Schwarzer,
Castro, Courville, Bellemare, Deep Reinforcement Learning at the Edge of the Statistical Precipice,
NeurIPS 2021 (sections 4.1 to 4.3). Nothing here runs anything; `swarm.runtime.compare` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from swarm.messages import Float, Int
from swarm.results.compare_metrics import METRICS
from swarm.rng import UNIFORMS, uniforms

CONFIDENCE = 0.95
RESAMPLES = 10_000
KEYS = ("scenario", "policy", "seed", "day", "digest")
"""Columns of the runs' table before the figures."""


@dataclass(frozen=True)
class Row:
    """One run that finished.

    Attributes:
        scenario: its name.
        policy: the policy of its agents.
        seed: its seed.
        day: local date of its first tick, ISO 8601.
        digest: SHA-256 over its tables.
        figures: see `swarm.results.compare_metrics.figures`.
        wall_seconds: how long it took; not in the table of runs, which depends on no clock.
    """

    scenario: str
    policy: str
    seed: int
    day: str
    digest: str
    figures: Mapping[str, float | None]
    wall_seconds: float


@dataclass(frozen=True)
class Failure:
    """One run that did not finish, and why."""

    policy: str
    seed: int
    day: str
    error: str


def runs_table(rows: Sequence[Row]) -> pa.Table:
    """One row for each run: `KEYS`, then every figure as float64, null where not measured."""
    metrics = [metric.name for metric in METRICS]
    others = sorted({name for row in rows for name in row.figures} - {*metrics})
    fields = [(key, pa.int64() if key == "seed" else pa.string()) for key in KEYS]
    schema = pa.schema([*fields, *((name, pa.float64()) for name in (*metrics, *others))])
    columns = [[getattr(row, key) for row in rows] for key in KEYS]
    columns += [[row.figures.get(name) for row in rows] for name in schema.names[len(KEYS) :]]
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def interquartile_mean(values: Float) -> Float:
    """Mean of the middle half along the last axis: a quarter, rounded down, is cut at each end."""
    ordered = np.sort(values, axis=-1)
    count = ordered.shape[-1]
    middle: Float = ordered[..., count // 4 : count - count // 4].mean(axis=-1)
    return middle


def resampled(count: int, resamples: int = RESAMPLES) -> Int:
    """Seeds drawn with replacement: indices below `count`, int64 (resamples, count).

    Always the same draws, so that every metric and policy sees the same samples of seeds.
    """
    blocks = -(-resamples * count // UNIFORMS)
    drawn = uniforms(0, "compare.bootstrap", 0, 0, blocks).ravel()[: resamples * count]
    index: Int = (drawn * count).astype(np.int64).reshape(resamples, count)
    return index


def resampled_means(values: Float, index: Int) -> Float:
    """Interquartile mean over all seeds and days of each resample, (resamples,).

    A drawn seed brings all its days: every day stays equally frequent (stratified), and days
    that share a seed, and so the same drawn agents, are not taken for independent (clustered).

    Args:
        values: float64 (seeds, days).
        index: see `resampled`.
    """
    # In blocks: many seeds and days in all resamples at once would not fit into memory.
    blocks = np.array_split(index, 20)
    return np.concatenate(
        [interquartile_mean(values[block].reshape(len(block), values.size)) for block in blocks]
    )


def probability_of_improvement(ours: Float, theirs: Float, index: Int) -> tuple[float, Float]:
    """Chance that a run of ours is above a run of theirs on the same day, ties counting half.

    The mean over days of the Mann-Whitney statistic over its number of pairs.

    Args:
        ours: float64 (seeds, days), higher is better.
        theirs: likewise.
        index: see `resampled`.

    Returns:
        The probability, and that of each resample, (resamples,).
    """
    # Halves and whole numbers, so that the order of the sums below cannot matter.
    above = np.heaviside(ours[:, None, :] - theirs[None, :, :], 0.5).sum(axis=2)
    seeds, days = ours.shape
    times = np.zeros((len(index), seeds))
    np.add.at(times, (np.arange(len(index))[:, None], index), 1.0)
    pairs = seeds**2 * days
    drawn: Float = ((times @ above) * times).sum(axis=1) / pairs
    return float(above.sum()) / pairs, drawn


def share_improved(ours: Float, theirs: Float, index: Int) -> tuple[float, Float]:
    """Share of pairs of runs, one of each policy on the same seed and day, that ours wins.

    Ties count half. `probability_of_improvement` where each day has one seed: days differ too
    much for a run on one to be compared with a run on another.

    Args:
        ours: float64 (seeds, 1), higher is better.
        theirs: likewise.
        index: see `resampled`.

    Returns:
        The share, and that of each resample, (resamples,).
    """
    wins = np.heaviside(ours - theirs, 0.5)[:, 0]
    drawn: Float = wins[index].mean(axis=1)
    return float(wins.mean()), drawn


def pairs_of(policies: Sequence[str], against: str | None) -> tuple[tuple[str, str], ...]:
    """Who is compared with whom: all others with `against`, or each with all after it."""
    if against is not None:
        return tuple((policy, against) for policy in policies if policy != against)
    return tuple(
        (policy, other) for at, policy in enumerate(policies) for other in policies[at + 1 :]
    )


def summarize(
    rows: Sequence[Row],
    policies: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    currency: str,
    paired: bool = False,
) -> dict[str, Any]:
    """Statistics of every metric that was measured, by its name, for JSON.

    A metric takes the seeds for which every policy has it on every day: all policies are judged
    on the same runs. Of a policy without any run there is nothing to say; it is left out.

    Args:
        rows: the runs, at most one for each policy, seed and day.
        policies: in the order shown.
        pairs: a policy, and another that it is compared with.
        currency: unit of money.
        paired: each seed has one day of its own; otherwise all have all days.

    Returns:
        For each metric `title`, `unit`, `better`, `transfer`, `definition`, `seeds` used,
        `policies` (`iqm`, its interval `low` to `high`, `mean`, `min`, `max`) and `comparisons`
        (for each pair `policy`, `against`, the `difference` of interquartile means and what it is
        `relative` to the mean of the other, and `probability_of_improvement`, each with its
        interval). Metrics with fewer than two such seeds have neither.
    """
    present = [policy for policy in policies if any(row.policy == policy for row in rows)]
    seeds, days = sorted({row.seed for row in rows}), sorted({row.day for row in rows})
    day_of = {row.seed: row.day for row in rows}
    days_of = {seed: [day_of[seed]] if paired else days for seed in seeds}
    found = {}
    for metric in METRICS:
        cells = {(row.policy, row.seed, row.day): row.figures[metric.name] for row in rows}
        used = [
            seed
            for seed in seeds
            if all(cells.get((p, seed, day)) is not None for p in present for day in days_of[seed])
        ]
        values = {
            policy: np.array(
                [[cells[policy, seed, day] for day in days_of[seed]] for seed in used],
                dtype=np.float64,
            )
            for policy in present
        }
        # From one run no interval follows.
        index = resampled(len(used))
        drawn = {p: resampled_means(values[p], index) for p in present if len(used) > 1}
        found[metric.name] = {
            "title": metric.title,
            "unit": currency if metric.unit == "currency" else metric.unit,
            "better": metric.better,
            "transfer": metric.transfer,
            "definition": metric.meaning,
            "seeds": len(used),
            "policies": {policy: _about(values[policy], drawn[policy]) for policy in drawn},
            "comparisons": [
                {
                    "policy": policy,
                    "against": other,
                    **_differences(values[policy], values[other], drawn[policy], drawn[other]),
                    **_chance(metric.better, values[policy], values[other], index, paired),
                }
                for policy, other in pairs
                if policy in drawn and other in drawn
            ],
        }
    return found


def _about(values: Float, drawn: Float) -> dict[str, float]:
    """One policy's (seeds, days) and the interquartile mean of each resample."""
    return {
        "iqm": float(interquartile_mean(values.ravel())),
        **_interval(drawn),
        "mean": float(values.mean()),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _differences(ours: Float, theirs: Float, drawn: Float, drawn_theirs: Float) -> dict[str, Any]:
    """Of two policies' interquartile means; relative only to what is not 0 and keeps its sign."""
    base = float(interquartile_mean(theirs.ravel()))
    gain, gains = float(interquartile_mean(ours.ravel())) - base, drawn - drawn_theirs
    sure = (base > 0 and drawn_theirs.min() > 0) or (base < 0 and drawn_theirs.max() < 0)
    relative = {"value": gain / abs(base), **_interval(gains / abs(drawn_theirs))} if sure else None
    return {"difference": {"value": gain, **_interval(gains)}, "relative": relative}


def _chance(
    better: str | None, ours: Float, theirs: Float, index: Int, paired: bool
) -> dict[str, Any]:
    """Entry `probability_of_improvement`, where one way is better."""
    if better is None:
        return {}
    sign = 1.0 if better == "higher" else -1.0
    judge = share_improved if paired else probability_of_improvement
    chance, chances = judge(sign * ours, sign * theirs, index)
    return {"probability_of_improvement": {"value": chance, **_interval(chances)}}


def _interval(drawn: Float) -> dict[str, float]:
    """Percentile interval of the values of all resamples."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail])
    return {"low": float(low), "high": float(high)}
