"""A Prometheus that scrapes two real runs: what a dashboard can show is in one of them."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.commands import shown
from tests.configs.boards import folder

SWARM_RUN = (sys.executable, "-m", "swarm", "run")
RUNS = {
    # Frequency, reserve, and an emergency, of one tick: at that pace a scrape falls into it.
    "island": "--scenario emergency --set start=2025-06-18T18:20:00+02:00 --ticks 5 --pace 0.7 "
    "--set results.orders=true",
    # A feeder, negotiated prices, learning.
    "feeder": "--scenario price_spike --ticks 24 --set market.mechanism=negotiated --learn "
    "--share-policies",
}
COMMON = ("--engine", "inline", "--hold", "600")
SCRAPED_EVERY = "200ms"
"""Five times as often as the configuration says, so that a short run is seen as a longer one is."""
PATIENCE_S = 180.0
"""Of a busy machine; an idle one is there in a tenth of it."""


class Live:
    """Prometheus, and the time since when it scrapes."""

    def __init__(self, url: str) -> None:
        self._url, self._since = url, time.time()

    def is_ready(self) -> bool:
        """It answers."""
        try:
            with urlopen(f"{self._url}/-/ready", timeout=1):
                return True
        except OSError:
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its HTTP API."""
        with urlopen(f"{self._url}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def series(self, expr: str) -> list[dict[str, Any]]:
        """The series of a query since the start that have a value that is a number."""
        times = {"start": f"{self._since:.3f}", "end": f"{time.time():.3f}", "step": SCRAPED_EVERY}
        found = self.ask("query_range", query=expr, **times)["result"]
        return [one for one in found if any(value != "NaN" for _, value in one["values"])]


def _await(what: str, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if ready():
            return
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {PATIENCE_S:g} s")


@contextmanager
def _started(command: list[str], log: Path, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as told:
        process = subprocess.Popen(command, cwd=cwd, stdout=told, stderr=told)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def prometheus(work: Path) -> Iterator[Live]:
    """The server as docs/watching.md starts it, once both runs are at their end."""
    ports = {name: _free_port() for name in RUNS}
    server = _free_port()
    with _started(_server(work, server, ports.values()), work / "prometheus.log", work):
        live = Live(f"http://127.0.0.1:{server}")
        _await("prometheus", live.is_ready)
        with ExitStack() as stack:
            logs = {name: work / f"{name}.log" for name in RUNS}
            running = {}
            for name, run in RUNS.items():
                command = [*SWARM_RUN, *run.split(), *COMMON, f"--metrics-port={ports[name]}"]
                running[name] = stack.enter_context(_started(command, logs[name], work))

            def over(name: str) -> bool:
                told = logs[name].read_text()
                assert running[name].poll() is None, told
                return "metrics stay at" in told

            for name in RUNS:
                _await(name, partial(over, name))
            # The last figures are seen.
            time.sleep(0.6)
            yield live


def _server(work: Path, port: int, scraped: Iterable[int]) -> list[str]:
    """The command of the page, with the project's configuration and other targets."""
    configuration = work / "prometheus"
    shutil.copytree(folder(), configuration)
    read = yaml.safe_load((configuration / "prometheus.yaml").read_text())
    read["global"]["evaluation_interval"] = SCRAPED_EVERY
    swarm = read["scrape_configs"][0]
    swarm["scrape_interval"] = swarm["scrape_timeout"] = SCRAPED_EVERY
    (configuration / "prometheus.yaml").write_text(yaml.safe_dump(read))
    targets = [f"127.0.0.1:{each}" for each in scraped]
    (configuration / "targets.yaml").write_text(yaml.safe_dump([{"targets": targets}]))
    line = next(line for line in shown("docs/watching.md") if line.startswith("prometheus "))
    line = line.replace("configs/prometheus", str(configuration)).replace(":9090", f":{port}")
    return re.sub(r"tsdb\.path=\S+", f"tsdb.path={work / 'tsdb'}", line).split()
