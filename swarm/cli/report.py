"""What `swarm run` prints of a finished run: figures, what happened, and the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swarm.cli.ui import print_table
from swarm.results.summary import compared_rows, story, summary_rows

if TYPE_CHECKING:
    from swarm.results.run import Run

MOST_EVENTS = 20
"""Events that are told; the rest are in the table of events."""


def print_report(run: Run) -> None:
    """Print the summary of `run` to stdout, with its events and its baseline where there are."""
    manifest, metrics = run.manifest, run.metrics
    print_table(
        f"{manifest['scenario']}, seed {manifest['seed']}", summary_rows(metrics, run.timings)
    )
    if metrics["nadir_hz"] is not None:
        rows = run.table("events").to_pylist()
        lines = story(rows[:MOST_EVENTS], metrics["start"], metrics["tick_minutes"])
        if lines:
            click.echo("what happened")
        for line in lines:
            click.echo(f"  {line}")
        if len(rows) > MOST_EVENTS:
            click.echo(f"  ... and {len(rows) - MOST_EVENTS} more in the table of events")
    if run.baseline is not None:
        name = manifest["baseline"]["name"]
        print_table(
            f"compared with the same run {name}",
            compared_rows(metrics, run.baseline.metrics),
            header=("", "this run", name),
        )
        if run.baseline.run_dir is not None:
            click.echo(f"compared: {run.baseline.run_dir}")
