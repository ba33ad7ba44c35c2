"""The Ray engine's manners: errors by name, nothing left running, nothing said."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import swarm
from swarm.errors import RunError, UsageError

SHORT = {"ticks": 4, "agents": 12, "out": None}


def test_an_address_that_does_not_answer_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "swarm", "run", "--scenario", "price_spike"),
            *("--address", "127.0.0.1:1", "--out", str(tmp_path / "runs")),
        ],
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 2
    assert "127.0.0.1:1" in finished.stderr
    assert "ray start --head" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "runs").exists()


def test_a_policy_that_fails_in_a_worker_is_told_by_name(
    ray_cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_policy.py").write_text(
        "import numpy as np\n"
        "class Broken:\n"
        "    traits = None\n"
        "    def __init__(self, kind, parameters): self.kind = kind\n"
        "    def act(self, state, view):\n"
        "        n = len(view.standing)\n"
        "        return np.full((n, len(self.kind.ACTION)), np.nan)\n"
        "    def settle(self, settled): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RunError, match=r"broken_policy:Broken.*nan for agent"):
        swarm.run("price_spike", policy="broken_policy:Broken", engine="ray", **SHORT)


def test_a_dead_host_ends_the_run_with_its_name(
    ray_cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import swarm.runtime.ray.cluster as module

    class Killer(swarm.runtime.session.Silent):  # type: ignore[name-defined]
        def tick(self, cleared: object, operated: object) -> None:
            os.kill(engines[0].placements[0][1], signal.SIGKILL)

    engines: list[module.RayEngine] = []
    start = module.Cluster.engine

    def remember(self: module.Cluster, *args: object) -> module.RayEngine:
        engines.append(start(self, *args))  # type: ignore[arg-type]
        return engines[-1]

    monkeypatch.setattr(module.Cluster, "engine", remember)
    with pytest.raises(RunError, match="died"):
        swarm.run("price_spike", engine="ray", progress=Killer(), **SHORT)


def test_actors_end_with_the_run(ray_cluster: str) -> None:
    import ray

    before = _live_workers()
    swarm.run("price_spike", engine="ray", agents_per_actor=6, **SHORT)
    deadline = time.monotonic() + 20
    while _live_workers() > before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ray.is_initialized()
    assert _live_workers() <= before


def _live_workers() -> int:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    return sum("ray::_" in line and "Actor" in line for line in listed.splitlines())


def test_an_address_belongs_to_the_ray_engine() -> None:
    with pytest.raises(UsageError, match="--address is for --engine ray"):
        swarm.run("price_spike", engine="inline", address="auto", **SHORT)


def test_local_ray_listens_on_loopback_alone(ray_cluster: str) -> None:
    commands = {
        int(path.parent.name): path.read_bytes().decode(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
    }
    raylet = next(c for c in commands.values() if f"gcs-address={ray_cluster}" in c)
    session = re.search(r"session_[0-9_-]+", raylet)
    assert session is not None
    ours = [pid for pid, command in commands.items() if session[0] in command]
    assert len(ours) >= 2
    owners = {
        os.readlink(link): commands[pid]
        for pid in ours
        for link in Path(f"/proc/{pid}/fd").glob("*")
        if link.is_symlink() and os.path.lexists(link)
    }
    listening = {}
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            owner = owners.get(f"socket:[{fields[9]}]")
            if fields[3] == "0A" and owner is not None:
                listening[fields[1]] = owner
    assert listening
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "0" * 24 + "01000000"}
    wide = {at: owner for at, owner in listening.items() if at.split(":")[0] not in loopback}
    assert not wide


def test_local_ray_wants_its_token(ray_cluster: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "swarm",
            "run",
            "--scenario",
            "price_spike",
            "--address",
            ray_cluster,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        # Ray tries a refused token again once a second: 20 times, where nothing is said.
        env={**os.environ, "RAY_AUTH_TOKEN": "0" * 64, "RAY_NUM_REDIS_GET_RETRIES": "2"},
    )
    assert done.returncode == 2, done.stderr
    assert "token" in done.stderr.lower()
