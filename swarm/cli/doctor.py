"""`swarm doctor`: what this machine has, what is missing, and the command to mend it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from swarm import __version__
from swarm.errors import SwarmError

REQUIRED = (
    "click",
    "demandlib",
    "msgspec",
    "numpy",
    "pvlib",
    "pyarrow",
    "pydantic",
    "PyYAML",
    "ray",
    "rich",
    "scipy",
)
LEAST_MEMORY_GIB = 2.0
GIB = 2**30


@click.command("doctor")
@click.option("--address", metavar="ADDRESS", help="Check this Ray cluster instead of a local one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(address: str | None, as_json: bool) -> None:
    """Check this machine, and say how to mend what is missing.

    Exit code 1 where something is missing.
    """
    found: dict[str, Any] = {
        "swarm": __version__,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "packages": {name: _version(name) for name in REQUIRED},
    }
    problems = []
    missing = [name for name, version in found["packages"].items() if version is None]
    if missing:
        problems.append(f"missing: {', '.join(missing)}; mend: pip install {' '.join(missing)}")
    memory = found["memory_gib"]
    if memory is not None and memory < LEAST_MEMORY_GIB:
        problems.append(
            f"{memory:.1f} GiB of memory; one actor takes about 60 MB; "
            "mend: run with --engine inline, or with a larger --agents-per-actor"
        )
    found["ray"] = _ray(address, problems) if "ray" not in missing else None
    found["cache"] = _writable_cache(problems)
    found["problems"] = problems
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print(found)
    sys.exit(1 if problems else 0)


def _print(found: dict[str, Any]) -> None:
    click.echo(f"swarm     {found['swarm']}")
    click.echo(f"python    {found['python']}")
    click.echo(f"cpus      {found['cpus']}")
    memory = found["memory_gib"]
    click.echo(f"memory    {'unknown' if memory is None else f'{memory:.1f} GiB'}")
    for name, version in found["packages"].items():
        click.echo(f"          {name} {version or 'MISSING'}")
    ray = found["ray"]
    if ray:
        click.echo(f"ray       reachable: {ray['nodes']} node(s), {ray['cpus']} CPU(s)")
    else:
        click.echo("ray       NOT reachable")
    click.echo(f"cache     {found['cache'] or 'NOT writable'}")
    for problem in found["problems"]:
        click.echo(f"problem: {problem}")
    click.echo("all good" if not found["problems"] else f"{len(found['problems'])} problem(s)")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory_gib() -> float | None:
    """Memory of the machine, or of its container where that is less."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists():
        text = limit.read_text().strip()
        if text.isdigit():
            whole = min(whole, int(text))
    return whole / GIB


def _ray(address: str | None, problems: list[str]) -> dict[str, Any] | None:
    from swarm.runtime.local_ray import prepare

    address = prepare(address)
    from swarm.runtime.ray.cluster import Cluster

    try:
        with closing(Cluster(address)) as cluster:
            return cluster.facts()
    except SwarmError as error:
        mend = "ray start --head" if address else "pip install --force-reinstall ray"
        problems.append(f"Ray is not reachable: {error}; mend: {mend}")
        return None


def _writable_cache(problems: list[str]) -> str | None:
    from swarm.world.cache import default_cache

    cache = default_cache()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        problems.append(f"cache folder {cache}: {error}; mend: set SWARM_CACHE_DIR to a folder")
        return None
    return str(cache)
