"""A comparison for people: a table, Markdown, and the folder with its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swarm.errors import UsageError
from swarm.results.compare import Row, runs_table
from swarm.results.compare_page import Table, page
from swarm.results.folder import write_bytes, write_json, write_text
from swarm.results.tables import parquet_bytes

NOTHING = "-"
CHANCE = "chance"
"""Unit of a probability, shown as it is."""
FIGURES = "Interquartile mean"
APART = "Payments and prices, which are no part of the system cost"


def new_folder(out: Path | None, scenario_name: str, now: datetime) -> Path:
    """Make the folder of a comparison; one that is there is never written over.

    Args:
        out: None takes `compare/<utc>-<scenario>`, and -2, -3 and so on where that is taken.
        scenario_name: name of the scenario.
        now: when the comparison started, with its time zone.

    Raises:
        UsageError: where it cannot be made, or `out` is there and not an empty folder.
    """
    folder = out or Path("compare") / f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{scenario_name}"
    name, attempt = folder.name, 1
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if out is not None and folder.is_dir() and not any(folder.iterdir()):
            return folder
        while True:
            try:
                folder.mkdir()
            except FileExistsError:
                if out is not None:
                    raise
                attempt += 1
                folder = folder.with_name(f"{name}-{attempt}")
            else:
                return folder
    except OSError as error:
        raise UsageError(
            f"--out {folder}: {error.strerror or error}; give a folder that does not exist yet, "
            "where you can write"
        ) from None


def write_comparison(
    folder: Path, rows: Sequence[Row], summary: dict[str, Any], timings: dict[str, Any]
) -> None:
    """Write runs.parquet, summary.json, summary.md, report.html and timings.json.

    All but the last follow from scenario, seeds and version alone.

    Args:
        folder: see `new_folder`.
        rows: the runs, in the order planned.
        summary: see `swarm.runtime.compare.Comparison.summary`.
        timings: wall-clock seconds.

    Raises:
        RunError: where a file cannot be written.
    """
    write_bytes(folder / "runs.parquet", parquet_bytes(runs_table(rows)))
    write_json(folder / "summary.json", summary)
    write_json(folder / "timings.json", timings)
    write_text(folder / "summary.md", markdown(summary))
    report = page(
        summary, rows, title(summary), facts(summary), tables(summary), failure_lines(summary)
    )
    write_text(folder / "report.html", report)


def title(summary: Mapping[str, Any]) -> str:
    """One line that says what was compared."""
    seeds, days = len(summary["seeds"]), len(summary["days"])
    where = f"{_plural(seeds, 'seed', 'seeds')} and {_plural(days, 'day', 'days')}"
    if summary["days_are"] == "held-out":
        where = f"{days} held-out days"
    policies = _plural(len(summary["policies"]), "policy", "policies")
    return f"{summary['scenario']}: {policies} on {where}"


def facts(summary: Mapping[str, Any]) -> list[str]:
    """What one must know to read the tables, one sentence each."""
    lost, currency = summary["lost_load_value_per_mwh"], summary["currency"]
    held_out, metrics = summary["days_are"] == "held-out", summary["metrics"]
    lines = [_when(summary), *_learned_from(summary)]
    operator = summary["operator"]
    if operator is not None:
        weighs = [f"{name} {weight:g}" for name, weight in (operator["weights"] or {}).items()]
        lines.append(
            f"The grid operator's policy is {operator['policy']} in all runs"
            + (f"; it weighs {', '.join(weighs)}." if weighs else ".")
        )
    lines += [
        f"Interquartile mean [{100 * summary['confidence']:.0f} % bootstrap interval, "
        f"{summary['resamples']:,} resamples of {'days' if held_out else 'seeds'}].",
        f"Energy not served costs {lost:,.10g} {currency}/MWh in the system cost.",
    ]
    missing = [each["title"] for each in metrics.values() if not each["policies"]]
    if 0 < len(missing) < len(metrics):
        lines.append(f"Not measured in this scenario, or not in enough runs: {', '.join(missing)}.")
    runs = summary["runs"]
    if runs["finished"] < runs["planned"]:
        lines.append(
            f"Only {runs['finished']} of {runs['planned']} runs finished; figures are over the "
            "seeds that every policy finished on every day."
        )
    return lines + list(summary["notes"])


def _when(summary: Mapping[str, Any]) -> str:
    """Which days and seeds."""
    days, seeds = summary["days"], summary["seeds"]
    ticks = f"{summary['ticks']} ticks a run."
    if summary["days_are"] == "held-out":
        pairs = [f"{day} (seed {seed})" for day, seed in zip(days, seeds, strict=True)]
        return f"Held-out days, every policy with the same seed: {', '.join(pairs)}; {ticks}"
    whose = "The scenario's own day" if summary["days_are"] == "own" else "Days"
    return f"{whose} {', '.join(days)}; seeds {', '.join(map(str, seeds))}; {ticks}"


def _learned_from(summary: Mapping[str, Any]) -> list[str]:
    """What days and policies have to do with each other."""
    lines = []
    used: Mapping[str, str] = summary["not_held_out"]
    if not used:
        lines.append(
            "Held out: `swarm train` neither trains nor chooses policies on these days (ISO weeks "
            "whose number divides by 8), nor with seeds below 100,000."
        )
    elif summary["learned"]:
        days = ", ".join(f"{day} ({use})" for day, use in used.items())
        lines.append(
            f"Not held out: {days}. {' and '.join(summary['learned'])} may have been trained or "
            "chosen on these days."
        )
    if summary["trained"] is not None:
        source, sha256 = summary["trained"]["policies"], summary["trained"]["sha256"]
        words = "those that come with swarm" if source == "shipped" else source
        lines.append(f"Trained policies: {words}, SHA-256 {sha256[:16]}.")
    return lines


def tables(summary: Mapping[str, Any]) -> list[Table]:
    """Title, header and rows of each table: figures, payments apart, then policies against others.

    A metric that was not measured has no row.
    """
    policies = summary["policies"]
    shown = [metric for metric in summary["metrics"].values() if metric["policies"]]
    found: list[Table] = []
    for name, transfer in ((FIGURES, False), (APART, True)):
        cells = [
            (
                label(metric),
                metric["better"] or NOTHING,
                *(estimate(metric["policies"].get(policy), metric["unit"]) for policy in policies),
            )
            for metric in shown
            if metric["transfer"] is transfer
        ]
        if cells:
            found.append((name, ("figure", "better", *policies), cells))
    against: dict[str, list[tuple[str, ...]]] = {}
    for metric in shown:
        for entry in metric["comparisons"]:
            cells_of = against.setdefault(f"{entry['policy']} against {entry['against']}", [])
            cells_of.append(
                (
                    label(metric),
                    metric["better"] or NOTHING,
                    estimate(entry["difference"], metric["unit"]),
                    # Percent of a percentage would only be misread.
                    NOTHING if metric["unit"] == "share" else _relative(entry["relative"]),
                    estimate(entry.get("probability_of_improvement"), CHANCE),
                )
            )
    header = ("figure", "better", "difference", "relative", "chance of improvement")
    return found + [(name, header, rows) for name, rows in against.items()]


def _relative(entry: Mapping[str, float] | None) -> str:
    """A ratio and its interval, in percent."""
    if entry is None:
        return NOTHING
    value, low, high = (
        f"{round(100 * entry[name], 1) + 0.0:+.1f}" for name in ("value", "low", "high")
    )
    return f"{value} % [{low}, {high}]"


def label(metric: Mapping[str, Any]) -> str:
    """A metric's title and unit."""
    return f"{metric['title']} ({'%' if metric['unit'] == 'share' else metric['unit']})"


def estimate(entry: Mapping[str, float] | None, unit: str) -> str:
    """A value and its interval; shares in percent; as many decimals as the largest needs."""
    if entry is None:
        return NOTHING
    scale = 100.0 if unit == "share" else 1.0
    values = [scale * entry["iqm" if "iqm" in entry else "value"]]
    values += [scale * entry["low"], scale * entry["high"]]
    largest = max(abs(value) for value in values)
    if unit in ("share", CHANCE):
        decimals = 2
    elif largest == 0 or largest >= 1000:
        decimals = 0
    else:
        decimals = 1 if largest >= 100 else 2 if largest >= 1 else 4
    # Adding 0 makes a rounded -0 plain.
    value, low, high = (f"{round(each, decimals) + 0.0:,.{decimals}f}" for each in values)
    return f"{value} [{low}, {high}]"


def failure_lines(summary: Mapping[str, Any]) -> list[str]:
    """Each run that failed: its policy, seed, day, and why."""
    return [
        f"{each['policy']}, seed {each['seed']}, {each['day']}: {each['error']}"
        for each in summary["failures"]
    ]


def markdown(summary: Mapping[str, Any]) -> str:
    """The comparison as a page of Markdown."""
    parts = [f"# {title(summary)}", "\n".join(f"- {fact}" for fact in facts(summary))]
    for name, header, rows in tables(summary):
        lines = [_line(header), _line(["---"] * len(header)), *map(_line, rows)]
        parts += [f"## {name}", "\n".join(lines)]
    failures = failure_lines(summary)
    if failures:
        parts += ["## Failed", "\n".join(f"- {line}" for line in failures)]
    defined = [
        f"- **{metric['title']}**: {metric['definition']}" for metric in summary["metrics"].values()
    ]
    return "\n\n".join([*parts, "## What the figures are", "\n".join(defined)]) + "\n"


def _line(cells: Sequence[str]) -> str:
    """A row of a table; a stroke inside a cell would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _plural(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
