"""`swarm show`: what a past run was and gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from swarm.cli.ui import print_table


@click.command("show")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(run_dir: Path, as_json: bool) -> None:
    """Show what the run in RUN_DIR was and gave.

    Every table is checked against its checksum; a run that did not finish is shown with its status.
    """
    from swarm.results.run import FINISHED, read_run
    from swarm.results.summary import summary_rows

    run = read_run(run_dir, unfinished=True)
    manifest, finished = run.manifest, run.manifest["status"] == FINISHED
    digest = run.digest if finished else None
    if as_json:
        whole = {
            **run.metrics,
            "timings": run.timings,
            "run_dir": str(run_dir),
            "digest": digest,
            "status": manifest["status"],
            "manifest": manifest,
        }
        click.echo(json.dumps(whole, sort_keys=True, allow_nan=False))
        return
    rows = about(manifest)
    if finished:
        rows += summary_rows(run.metrics, run.timings)
    print_table(f"{manifest.get('scenario')}, seed {manifest.get('seed')}", rows)
    click.echo(f"results: {run_dir}")
    if digest:
        click.echo(f"digest:  {digest}")


def about(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """How a run was started and ended, as label and value; parts that are unknown are left out."""
    rows = [("status", str(manifest["status"]))]
    for label, key in (("error", "error"), ("started", "started_utc"), ("ended", "finished_utc")):
        if manifest.get(key):
            rows.append((label, str(manifest[key])))
    options = {"ticks": manifest.get("ticks"), "agents": manifest.get("agents")}
    if manifest["status"] == "finished":
        options = {}
    options |= manifest.get("options", {})
    rows += [(key.replace("_", " "), str(value)) for key, value in options.items() if value]
    versions = manifest.get("versions", {})
    if versions:
        rows.append(
            ("versions", ", ".join(f"{name} {versions[name]}" for name in sorted(versions)))
        )
    if manifest.get("commit"):
        rows.append(("commit", str(manifest["commit"])))
    rows += [("note", str(note)) for note in manifest.get("notes", [])]
    return rows
