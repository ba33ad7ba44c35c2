"""What is told of a finished run: the summary that `swarm run` prints, and `swarm report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm.cli.ui import print_table
from swarm.results.summary import compared_rows, story, summary_rows

if TYPE_CHECKING:
    from swarm.results.run import Run

MOST_EVENTS = 20
"""Events that are told; the rest are in the table of events."""
PAGE = "report.html"


@click.command("report")
@click.argument(
    "folders", metavar="RUN_DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write it.  [default: RUN_DIR/report.html; of several runs ./report.html]",
)
@click.option(
    "--tick", "ticks", type=int, multiple=True, metavar="N", help="Include its merit order."
)
@click.option("--force", is_flag=True, help="Also replace a file that is no report.")
@click.option("--open", "shows", is_flag=True, help="Open it in the browser.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    folders: tuple[Path, ...],
    out: Path | None,
    ticks: tuple[int, ...],
    force: bool,
    shows: bool,
    as_json: bool,
) -> None:
    """Make one page with plots of the run in RUN_DIR, of a training, or of several runs.

    \b
    swarm report runs/RUN
    swarm report runs/RUN --tick 216 --out spike.html
    swarm report runs/A runs/B --out both.html

    The page holds all it needs and opens without a network. An older report is replaced, since it
    can be made anew; any other file is left alone.
    """
    from swarm.results.report import report, write_page
    from swarm.results.report_compare import compare_runs

    if len(folders) > 1 and ticks:
        raise click.UsageError("--tick is of the report of one run")
    page = report(folders[0], ticks) if len(folders) == 1 else compare_runs(folders)
    path = out or (folders[0] / PAGE if len(folders) == 1 else Path(PAGE))
    write_page(path, page, force=force)
    if as_json:
        about = {
            "report": str(path),
            "title": page.title,
            "bytes": len(page.html.encode()),
            "shown": list(page.shown),
            "hidden": dict(page.hidden),
        }
        click.echo(json.dumps(about, sort_keys=True))
    else:
        click.echo(f"report: {path}")
    if shows:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())


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
