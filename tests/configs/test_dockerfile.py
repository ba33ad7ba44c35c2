"""The image can be built from what is in the project: its steps are replayed without an engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from tests.commands import ROOT

LINES = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
STEPS = [line.split(" ", 1) for line in LINES if line and not line.startswith("#")]
COPIED = [step[1].split()[:-1] for step in STEPS if step[0] == "COPY" and "--from" not in step[1]]


def _values(keyword: str) -> list[str]:
    return [value for step, value in STEPS if step == keyword]


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in rules, "nothing comes along unasked"
    for source in (source for sources in COPIED for source in sources):
        assert (ROOT / source.removeprefix("./")).exists(), source
        assert f"!{source}" in rules, source


def test_the_wheel_gets_all_it_is_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"]}
    needed |= {"pyproject.toml", *project["project"]["license-files"]}
    assert {source for sources in COPIED for source in sources} == needed


def test_the_base_is_pinned_and_takes_this_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [base, _] = _values("ARG")
    version = re.fullmatch(r"PYTHON_IMAGE=python:(\d+)\.(\d+)\.\d+-slim-bookworm", base)
    assert version is not None
    oldest = re.fullmatch(r">=(\d+)\.(\d+)", project["project"]["requires-python"])
    assert oldest is not None
    assert tuple(map(int, version.groups())) >= tuple(map(int, oldest.groups()))
    assert [value.split()[0] for value in _values("FROM")] == ["${PYTHON_IMAGE}"] * 2


def test_it_runs_as_nobody_in_particular() -> None:
    [user] = _values("USER")
    assert int(user) > 0
    assert any(f"useradd --uid {user} " in value for value in _values("RUN"))
    assert json.loads(_values("ENTRYPOINT")[0]) == ["swarm"]


def test_the_health_check_asks_the_endpoint(tmp_path: Path) -> None:
    [check] = _values("HEALTHCHECK")
    command = json.loads(check.split("CMD ", 1)[1])
    assert command[0] == "python"
    port = re.search(r"127\.0\.0\.1:(\d+)/metrics", command[2])
    assert port is not None
    assert _values("EXPOSE") == [port[1]]
    from swarm.telemetry.prometheus import Endpoint

    endpoint = Endpoint("127.0.0.1", 0)
    moved = command[2].replace(f":{port[1]}", f":{endpoint.port}")
    try:
        assert subprocess.run([sys.executable, "-c", moved], timeout=30).returncode == 0
    finally:
        endpoint.close()
    dead = subprocess.run([sys.executable, "-c", moved], timeout=30, capture_output=True)
    assert dead.returncode != 0


@pytest.mark.slow
def test_its_steps_lead_to_a_swarm_that_runs(tmp_path: Path) -> None:
    """The steps of both stages, each with an environment of its own in place of the image."""
    source, wheels = tmp_path / "src", tmp_path / "wheels"
    for paths in COPIED:
        for path in paths:
            copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
            source.mkdir(exist_ok=True)
            copy(ROOT / path, source / path)
    builds, installs, _ = _values("RUN")
    index = next(value for value in _values("ARG") if value.startswith("TORCH_INDEX="))
    # Where that index is out of reach, pip goes on with its own.
    environment = {"PIP_RETRIES": "0", **os.environ, "TORCH_INDEX": index.split("=", 1)[1]}
    for step, stage, cwd in ((builds, "one", source), (installs, "two", tmp_path)):
        venv.create(tmp_path / stage, with_pip=True)
        python = tmp_path / stage / "bin/python"
        replayed = step.replace("/wheels", shlex.quote(str(wheels)))
        replayed = replayed.replace("python -m", f"{shlex.quote(str(python))} -m")
        subprocess.run(["bash", "-euc", replayed], cwd=cwd, env=environment, check=True)
    swarm = tmp_path / "two/bin/swarm"
    run = f"run --scenario price_spike --engine inline --ticks 2 --quiet --out {tmp_path / 'runs'}"
    subprocess.run([str(swarm), *run.split()], cwd=tmp_path, check=True, timeout=120)
