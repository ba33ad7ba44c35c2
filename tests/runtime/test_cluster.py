"""The commands of docs/cluster.md, and those with --address, on a head that others started.

No test before this file, in the order of names, may start Ray: two Rays on one machine want the
same port for their job agents, and jobs of the second are refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import swarm
from tests.commands import ROOT, run, shown

COMMANDS = shown("docs/cluster.md")
HEAD = next(line for line in COMMANDS if line.startswith("ray start"))
TOKEN = next(line for line in COMMANDS if line.startswith("ray get-auth-token"))
EXPORTS = {
    key: value
    for key, _, value in (
        line.removeprefix("export ").partition("=")
        for line in COMMANDS
        if line.startswith("export ")
    )
}
RUNS = [line for line in COMMANDS if "swarm run" in line and line.startswith(("swarm", "ray job"))]
RUNS += [line for line in shown("README.md") if "--address" in line]
STOP = next(line for line in COMMANDS if line.startswith("ray job stop"))
ASK = next(line for line in COMMANDS if "request_resources" in line)
BENCHMARKS = [line for line in COMMANDS if line.startswith("python benchmarks/")]
ABSENT = ("docker ", "ray up ", "ray exec ", "ray rsync-down ", "ray down ", "kubectl ")
"""What needs machines, a container engine or Kubernetes. `tests/configs` checks the files."""


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A Ray head in a home of its own, with the environment a reader would have."""
    pytest.importorskip("aiohttp", reason="ray[default] is not installed")
    home = tmp_path_factory.mktemp("home")
    environment = {**EXPORTS, "HOME": str(home), "RAY_ADDRESS": "", "RAY_AUTH_TOKEN": ""}
    # A short folder of its own: Ray's socket paths are limited, and it names what is to end.
    scratch = Path(tempfile.mkdtemp(prefix="swarm-head-"))
    environment["RAY_TMPDIR"] = str(scratch)
    token = run(TOKEN, home, **environment)
    assert token.returncode == 0, token.stderr
    started = _start(HEAD, environment)
    deadline = time.monotonic() + 90
    ready = "ray job submit --address http://127.0.0.1:8265 -- true"
    while run(ready, home, **environment).returncode != 0 and time.monotonic() < deadline:
        time.sleep(1)
    yield home, environment
    _end(started)
    # Workers are in groups of their own; `ray stop` would end every Ray of this user.
    subprocess.run(["pkill", "-9", "-f", str(scratch)], check=False)
    shutil.rmtree(scratch, ignore_errors=True)


def _start(command: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a node in the background; returns when it has joined."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    node = subprocess.Popen(
        ["bash", "-c", f"exec {command} --block --disable-usage-stats"],
        env={**os.environ, **environment, "PATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert node.stdout is not None
    said = ""
    for line in node.stdout:
        said += line
        if "Ray runtime started" in line:
            return node
    raise AssertionError(said)


def _end(node: subprocess.Popen[str]) -> None:
    """End a node with its agents, which would stay for a minute."""
    os.killpg(node.pid, signal.SIGKILL)
    node.wait(30)


def test_every_shown_command_is_run_or_names_why_not() -> None:
    known = (HEAD, TOKEN, STOP, ASK, *RUNS, *BENCHMARKS)
    for line in COMMANDS:
        assert line in known or line.startswith(("export ", *ABSENT)), line
        for path in re.findall(r"configs/ray/\S+", line):
            assert (ROOT / path).is_file(), path


@pytest.mark.slow
@pytest.mark.parametrize("command", BENCHMARKS)
def test_shown_benchmark_works(command: str) -> None:
    done = run(f"{command} --ticks 2", ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", RUNS)
def test_shown_command_works(command: str, head: tuple[Path, dict[str, str]]) -> None:
    home, environment = head
    work = home / "work"
    work.mkdir(exist_ok=True)
    done = run(f"{command} --ticks 6", work, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "digest" in done.stdout


def test_a_failing_run_fails_its_job(head: tuple[Path, dict[str, str]]) -> None:
    home, environment = head
    job = next(line for line in RUNS if line.startswith("ray job"))
    done = run(job.replace("price_spike", "no_such_scenario"), home, **environment)
    assert done.returncode != 0
    assert "exit code 2" in done.stdout + done.stderr


def test_a_stopped_job_leaves_what_it_wrote(head: tuple[Path, dict[str, str]]) -> None:
    home, environment = head
    out = home / "stopped"
    submit = "ray job submit --address http://127.0.0.1:8265 --submission-id stopped --no-wait --"
    asked = f"{submit} swarm run --scenario price_spike --pace 0.2 --out {out}"
    done = run(asked, home, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    # While it starts: the other command that is no run.
    done = run(ASK, home, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    deadline = time.monotonic() + 60
    while not list(out.glob("*/audit.log")) and time.monotonic() < deadline:
        time.sleep(0.2)
    done = run(STOP.replace("JOB", "stopped"), home, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = out.iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["error"].split(":")[0]) == ("failed", "SystemExit")
    assert (folder / "scenario.resolved.yaml").exists()


def test_three_nodes_give_the_same_bytes(head: tuple[Path, dict[str, str]]) -> None:
    home, environment = head
    joining = "ray start --address=127.0.0.1:6379 --num-cpus=2"
    # One after the other: two that start at once may take the same socket.
    others = [_start(joining, environment) for _ in range(2)]
    asked = "swarm run --scenario price_spike --ticks 3 --json"
    spread = run(f"{asked} --address auto --agents-per-actor 25", home, **environment)
    for other in others:
        _end(other)
    assert spread.returncode == 0, spread.stderr
    told = json.loads(spread.stdout)
    manifest = json.loads((home / told["run_dir"] / "manifest.json").read_text())
    assert (manifest["nodes"], manifest["hosts"]) == (3, 4)
    inline = swarm.run("price_spike", ticks=3, engine="inline", out=None)
    assert told["digest"] == inline.digest
