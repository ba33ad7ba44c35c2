"""`swarm compare`: run policies on the same seeds and days, and say which is better."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from swarm.errors import RunError, UsageError

if TYPE_CHECKING:
    from swarm.results.compare import Failure, Row

MOST_SEEDS = 10_000


@click.command("compare")
@click.option("--scenario", required=True, metavar="NAME|PATH", help="What to run.")
@click.option(
    "--policies",
    metavar="NAMES",
    help="Policies of the agents, each as of `swarm run --policy`.  [default: "
    "trained,heuristic,random where there are trained ones]",
)
@click.option(
    "--policies-from",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Trained policies.  [default: those that come with swarm]",
)
@click.option(
    "--seeds", default="0..9", show_default=True, metavar="LIST", help="Seeds: 0..9 or 0,3,7."
)
@click.option(
    "--days",
    metavar="LIST",
    help="Dates that every seed runs on: 2025-06-18,..., or own for the scenario's.  [default: a "
    "held-out day for each seed; own with --data]",
)
@click.option(
    "--against",
    metavar="NAME",
    help="Policy to compare the others with.  [default: each with all after it]",
)
@click.option("--data", type=click.Path(path_type=Path), help="Real data the scenario reads.")
@click.option(
    "--engine",
    type=click.Choice(["inline", "ray"]),
    default="inline",
    show_default=True,
    help="inline: runs in parallel processes; ray: one run after the other.",
)
@click.option("--address", metavar="ADDRESS", help="A running Ray cluster, e.g. auto.")
@click.option("--jobs", type=int, metavar="N", help="Runs at a time.  [default: CPUs]")
@click.option("--agents", type=int, metavar="N", help="Scale the drawn fleets to N agents.")
@click.option("--replicate", is_flag=True, help="Let --agents repeat explicit lists of agents.")
@click.option("--ticks", type=int, metavar="N", help="Length of a run in ticks.")
@click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="Replace a field.")
@click.option(
    "--lost-load-value",
    type=float,
    metavar="PRICE",
    help="Cost of a MWh not served.  [default: the scenario's market.price_cap]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="New folder for the results.  [default: compare/<utc>-<scenario>]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
@click.option("--quiet", is_flag=True, help="No progress and no tables.")
def command(
    scenario: str,
    policies: str | None,
    policies_from: Path | None,
    seeds: str,
    days: str | None,
    against: str | None,
    data: Path | None,
    engine: str,
    address: str | None,
    jobs: int | None,
    agents: int | None,
    replicate: bool,
    ticks: int | None,
    sets: tuple[str, ...],
    lost_load_value: float | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare policies on the same seeds and days.

    \b
    swarm compare --scenario normal_day --policies trained,heuristic,random --seeds 0..9
    swarm compare --scenario normal_day --policies-from trainings/mine --jobs 2

    Without --days, seed number i runs on day number i of as many days of the scenario's year that
    no training uses.
    """
    asked = seeds_of(seeds), days_of(days)
    from swarm.cli.progress import Lines, error_console
    from swarm.results.compare_report import failure_lines, new_folder, write_comparison
    from swarm.runtime.compare import carry_out, plan_comparison

    if ":" in (policies or "") and "" not in sys.path:
        # A policy of the user's own is found where they stand, as with python -m.
        sys.path.insert(0, str(Path.cwd()))
    planned = plan_comparison(
        scenario,
        policies=None if policies is None else names_of(policies),
        policies_from=policies_from,
        seeds=asked[0],
        days=asked[1],
        against=against,
        ticks=ticks,
        agents=agents,
        replicate=replicate,
        sets=sets,
        data=data,
        engine=engine,  # type: ignore[arg-type]
        address=address,
        jobs=jobs,
        lost_load_value_per_mwh=lost_load_value,
    )
    folder = new_folder(out, planned.scenario.name, datetime.now(UTC))
    lines = Lines(error_console())

    def told(done: int, total: int, result: Row | Failure) -> None:
        failed = hasattr(result, "error")
        line = f"run {done}/{total}  {result.policy}, seed {result.seed}, {result.day}"
        lines.say(f"{line}  failed" if failed else line, now=failed or done == total)

    if not quiet:
        for note in planned.notes:
            lines.print(f"note: {note}")
        lines.print(
            f"{planned.scenario.name}: {len(planned.tasks)} runs of {planned.scenario.ticks} "
            f"ticks, {planned.jobs} at a time"
        )
    comparison = carry_out(planned, None if quiet else told)
    summary = comparison.summary()
    write_comparison(folder, comparison.rows, summary, comparison.timings())
    if comparison.interrupted:
        raise KeyboardInterrupt(f"what was done until then is in {folder}")
    if as_json:
        whole = {**summary, "out": str(folder), "timings": comparison.timings()}
        click.echo(json.dumps(whole, sort_keys=True, allow_nan=False))
    elif not quiet:
        _print(summary)
        click.echo(f"results: {folder}")
    if comparison.failures:
        raise RunError(
            f"{len(comparison.failures)} of {len(planned.tasks)} runs failed; what was done is in "
            f"{folder}\n" + "\n".join(failure_lines(summary))
        )


def seeds_of(text: str) -> list[int]:
    """Seeds as `0..9` (both ends included), `0,3,7`, or both: `0..4,9`.

    Raises:
        UsageError: where it is neither, or there are too many.
    """
    found: list[int] = []
    for part in text.split(","):
        ends = [end.strip() for end in part.split("..")]
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() for end in ends):
            raise UsageError(f"--seeds {text!r}: {part!r} is no seed; expected 0..9 or 0,3,7")
        first, last = int(ends[0]), int(ends[-1])
        if first > last:
            raise UsageError(f"--seeds {text!r}: {part!r} runs backwards; expected {last}..{first}")
        if len(found) + last - first >= MOST_SEEDS:
            raise UsageError(f"--seeds {text!r}: more than {MOST_SEEDS:,} seeds")
        found += range(first, last + 1)
    return found


def names_of(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def days_of(text: str | None) -> list[date] | Literal["own"] | None:
    """Dates as `2025-06-18,2025-06-19`, or `own`.

    Raises:
        UsageError: where one is no date.
    """
    if text is None or text == "own":
        return None if text is None else "own"
    found = []
    for part in text.split(","):
        try:
            found.append(date.fromisoformat(part.strip()))
        except ValueError:
            raise UsageError(
                f"--days {text!r}: {part!r} is no date; expected YYYY-MM-DD, several with commas, "
                "or own"
            ) from None
    return found


def _print(summary: dict[str, Any]) -> None:
    from swarm.cli.ui import print_table
    from swarm.results.compare_report import facts, tables, title

    click.echo(title(summary))
    for fact in facts(summary):
        click.echo(f"- {fact}")
    for name, header, rows in tables(summary):
        click.echo()
        print_table(name, rows, header)
