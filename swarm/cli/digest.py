"""`swarm digest`: one SHA-256 over the result tables of a run."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("digest")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(run_dir: Path, as_json: bool) -> None:
    """Print one SHA-256 over the result tables of the run in RUN_DIR.

    Runs of the same scenario, seed and version have the same digest, wherever they ran. It is
    computed from the files as they are; exit code 2 where that is not what the run wrote.
    """
    from swarm.results.run import read_run

    digest = read_run(run_dir).digest
    click.echo(json.dumps({"run_dir": str(run_dir), "digest": digest}) if as_json else digest)
