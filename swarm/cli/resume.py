"""`swarm resume`: go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from swarm.cli.run import shown, tell
from swarm.cli.watched import told_options, watched, watched_options


@click.command("resume")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--engine",
    type=click.Choice(["ray", "inline"]),
    help="Where agents run; by default as the run was started. The results are the same bytes.",
)
@click.option("--address", metavar="ADDRESS", help="A running Ray cluster, e.g. auto.")
@watched_options
@told_options
def command(
    run_dir: Path,
    engine: Any,
    address: str | None,
    watch: bool,
    log_format: str,
    as_json: bool,
    quiet: bool,
    **telemetry: Any,
) -> None:
    """Go on with a run that was killed, interrupted or failed, from its newest checkpoint.

    It ends with the results that it would have had.

    \b
    swarm resume runs/20260101T000000Z-price_spike-s7-1a2b3c4d
    """
    with shown(watch, log_format, quiet) as progress:
        from swarm.runtime.resume import resume

        done = resume(
            run_dir,
            engine=engine,
            address=address,
            watched=watched(**telemetry),
            progress=progress,
        )
    tell(done, as_json, quiet)
