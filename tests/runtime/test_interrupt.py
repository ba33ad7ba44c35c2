"""Ctrl-C at any moment: exit code 130, a true manifest, no process left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def processes_of(marker: str) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if marker in line]


@pytest.mark.parametrize("engine", ["inline", "ray"])
@pytest.mark.parametrize("after", ["starting", "ticking"])
def test_ctrl_c_ends_cleanly(engine: str, after: str, tmp_path: Path, ray_cluster: str) -> None:
    environment = {**os.environ, "RAY_ADDRESS": ray_cluster if engine == "ray" else ""}
    command = [sys.executable, "-m", "swarm", "run", "--scenario", "price_spike"]
    command += ["--ticks", "50000", "--engine", engine, "--out", str(tmp_path / "runs")]
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    assert running.stderr is not None
    awaited = "price_spike:" if after == "starting" else "tick "
    for line in running.stderr:
        if line.startswith(awaited):
            break
    time.sleep(0.2)
    os.killpg(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    folder = next((tmp_path / "runs").iterdir())
    assert str(folder) in said
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    assert not list(folder.rglob("*.tmp"))
    assert not processes_of(str(tmp_path))
