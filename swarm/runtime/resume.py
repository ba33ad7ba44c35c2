"""Going on with a run that was stopped, from its newest checkpoint to the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from swarm.errors import UsageError
from swarm.results.run import MANIFEST, Run, read_run
from swarm.runtime.checkpoint import inputs_of, newest
from swarm.runtime.options import EngineName, Options, Progress, Silent
from swarm.runtime.session import check, connected
from swarm.runtime.simulation import Resumed, prepare, simulate
from swarm.runtime.telemetry import Telemetry, Watched
from swarm.scenario.load import load_scenario

RESOLVED = "scenario.resolved.yaml"


def resume(
    run_dir: str | Path,
    *,
    engine: EngineName | None = None,
    address: str | None = None,
    watched: Watched | None = None,
    progress: Progress | None = None,
) -> Run:
    """Go on with a run that was killed, interrupted or failed, to the results it would have had.

    Args:
        run_dir: the run's folder.
        engine: None: the one it was started with; the results are the same bytes.
        address: a running Ray cluster; None: as it was started.
        watched: metrics, traces and pace.
        progress: is told how it goes.

    Returns:
        The run, finished.

    Raises:
        UsageError: it is not a run's folder, is finished, has no whole checkpoint, or what it reads
            or the version has changed.
        RunError: it could not go on.
    """
    told, folder = progress or Silent(), Path(run_dir)
    manifest = _manifest(folder)
    options = _options(manifest, folder, engine, address, watched)
    check(options)
    scenario = load_scenario(str(folder / RESOLVED)).scenario
    prepared = prepare(scenario, options, told)
    checkpoint = newest(folder, inputs_of(prepared.plan, prepared.resolved), told.note)
    told.note(f"goes on after tick {checkpoint.tick}")
    telemetry = Telemetry(options.watched, told.note)
    done = None
    try:
        with connected(options) as cluster:
            baseline = _baseline(manifest, folder, told)
            resumed = Resumed(folder, manifest, checkpoint)
            done = simulate(prepared, options, told, cluster, baseline, telemetry, resumed)
    finally:
        telemetry.close(hold=done is not None)
    return done


def _manifest(folder: Path) -> dict[str, Any]:
    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} is not a run's folder: it has no {MANIFEST}")
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        status = manifest["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / MANIFEST}: damaged: {error}") from None
    if status == "finished":
        raise UsageError(f"{folder}: this run is finished; there is nothing to go on with")
    return manifest


def _options(
    manifest: dict[str, Any],
    folder: Path,
    engine: EngineName | None,
    address: str | None,
    watched: Watched | None,
) -> Options:
    given = dict(manifest["options"])
    for name in ("data", "policies_from", "keys"):
        given[name] = None if given.get(name) is None else Path(given[name])
    if engine is not None and engine != given["engine"]:
        given |= {"engine": engine, "address": None}
    if address is not None:
        given["address"] = address
    try:
        return replace(Options(**given), out=folder.parent, watched=watched or Watched())
    except TypeError as error:
        raise UsageError(f"{folder / MANIFEST}: of another version: {error}") from None


def _baseline(manifest: dict[str, Any], folder: Path, told: Progress) -> Run | None:
    """The run it is compared with, where that is still there."""
    name = manifest.get("baseline", {}).get("run")
    if name is None:
        return None
    try:
        return read_run(folder.parent / name)
    except UsageError as error:
        told.note(f"not compared with its baseline: {error}")
        return None
