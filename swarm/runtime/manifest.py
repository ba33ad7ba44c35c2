"""What a run's folder says of how it was run, and how long it took."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swarm.errors import SwarmError
from swarm.runtime.setup import Plan
from swarm.runtime.timing import Phases
from swarm.scenario.schema import Scenario

VERSIONED = ("grid-swarm", "numpy", "pyarrow", "pydantic", "msgspec", "pynacl", "scipy", "ray")


def manifest_of(
    scenario: Scenario,
    ready: Plan,
    options: Mapping[str, Any],
    hosts: int,
    notes: tuple[str, ...],
    now: datetime,
) -> dict[str, Any]:
    """The manifest of a run that starts `now` on so many hosts; it is added to as the run goes."""
    return {
        "status": "started",
        "scenario": scenario.name,
        "seed": scenario.seed,
        "ticks": scenario.ticks,
        "agents": ready.agents,
        "kinds": {roster.kind: len(roster) for roster in ready.rosters},
        "hosts": hosts,
        "arguments": sys.argv[1:],
        "options": dict(options),
        "condensers": [condenser.model_dump() for condenser in scenario.condensers],
        "notes": list(notes),
        "started_utc": now.isoformat(timespec="seconds"),
        "versions": _versions(),
        "commit": _commit(),
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
        },
    }


@contextmanager
def true_to_the_end(
    manifest: dict[str, Any], write: Callable[[], None], interrupted: Callable[[], str]
) -> Iterator[None]:
    """Keep the manifest's status true, however the block ends.

    Args:
        manifest: is changed in place.
        write: keeps it.
        interrupted: what to say on Ctrl-C; empty: nothing more than was said.
    """
    write()
    try:
        yield
    except KeyboardInterrupt:
        manifest["status"] = "interrupted"
        if not (said := interrupted()):
            raise
        raise KeyboardInterrupt(said) from None
    except SwarmError as error:
        manifest |= {"status": "failed", "error": str(error)}
        raise
    except BaseException as error:
        manifest |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        raise
    finally:
        manifest["finished_utc"] = datetime.now(UTC).isoformat(timespec="seconds")
        write()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of a source checkout, None in an installed package."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def timings_of(phases: Phases, wall: float, ticks: int, agents: int) -> dict[str, Any]:
    """Seconds by phase, rounded to microseconds, and what they make of the speed."""
    seconds = {name: round(value, 6) for name, value in phases.seconds.items()}
    ticking = sum(seconds.get(phase, 0.0) for phase in ("step", "clear", "write"))
    return {
        "wall_seconds": round(wall, 6),
        "ticks_per_second": round(ticks / ticking, 3) if ticking else None,
        "agent_ticks_per_second": round(ticks * agents / ticking, 1) if ticking else None,
        "seconds_by_phase": seconds,
    }
