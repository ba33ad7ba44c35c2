"""The commands of docs/cluster.md, and those with --address, on a head that others started.

No test before this file, in the order of names, may start Ray: two Rays on one machine want the
same port for their job agents, and jobs of the second are refused.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import run, shown

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
RUNS = [line for line in COMMANDS if line.startswith(("swarm", "ray job"))]
RUNS += [line for line in shown("README.md") if "--address" in line]


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
    started.kill()
    # `ray stop` would end every Ray of this user, that of the other tests too.
    subprocess.run(["pkill", "-9", "-f", str(scratch)], check=False)
    started.wait(30)
    shutil.rmtree(scratch, ignore_errors=True)


def _start(command: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a node in the background."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        ["bash", "-c", f"exec {command} --block --disable-usage-stats"],
        env={**os.environ, **environment, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


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


def test_hosts_spread_over_the_nodes(head: tuple[Path, dict[str, str]]) -> None:
    home, environment = head
    second = _start("ray start --address=127.0.0.1:6379 --num-cpus=2", environment)
    deadline = time.monotonic() + 60
    nodes = "import ray; ray.init('auto', logging_level='ERROR'); print(len(ray.nodes()))"
    while time.monotonic() < deadline:
        if run(f'{sys.executable} -c "{nodes}"', home, **environment).stdout.strip() == "2":
            break
    done = run(
        "swarm run --scenario price_spike --address auto --agents-per-actor 25 --ticks 2 --json",
        home,
        **environment,
    )
    second.kill()
    assert done.returncode == 0, done.stderr
    folder = home / json.loads(done.stdout)["run_dir"]
    assert json.loads((folder / "manifest.json").read_text())["nodes"] == 2
