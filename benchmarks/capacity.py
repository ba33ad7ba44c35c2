"""Memory and processor time of a run on Ray, by number of agents: what a machine can carry.

    python benchmarks/capacity.py [--agents 100 --agents 1000 ...] [--ticks 24]
        [--scenario price_spike] [--set FIELD=VALUE ...]

Processor time is that of the run's own processes between its first and its last tick: neither their
start nor other work of the machine is in it. Memory is the peak of what is resident until the last
tick; pages that processes share count in each, so sums are upper bounds. Needs Linux's /proc.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import click

import swarm
from swarm.runtime.session import Silent

ROLES = {"ray::_HostActor": "hosts", "ray::MarketActor": "market", "ray::OperatorActor": "market"}


def processes() -> dict[str, list[int]]:
    """Ids of this process (`driver`) and of all that it started, by role."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # It ended while we looked.
        children.setdefault(parent, []).append(int(stat.parent.name))
    roles: dict[str, list[int]] = {"hosts": [], "market": [], "driver": [os.getpid()], "ray": []}
    waiting = [os.getpid()]
    while waiting:
        for pid in children.get(waiting.pop(), []):
            title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
            roles[ROLES.get(title, "ray")].append(pid)
            waiting.append(pid)
    return roles


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """Peak of the resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6


class Measured(Silent):
    """Looks at the processes of a run after its first and after its last tick."""

    def __init__(self, ticks: int) -> None:
        self._ticks = self._left = ticks

    def tick(self, cleared: Any, operated: Any) -> None:
        """See `Progress`."""
        self._left -= 1
        if self._left == self._ticks - 1:
            self._roles = processes()
            self._before = self._cpu()
        if self._left == 0:
            spent = {role: cpu - self._before[role] for role, cpu in self._cpu().items()}
            self.cpu_ms = {role: 1000 * cpu / (self._ticks - 1) for role, cpu in spent.items()}
            self.mb = {role: sum(map(peak_mb, pids)) for role, pids in self._roles.items()}
            self.host_mb = max(map(peak_mb, self._roles["hosts"]))

    def _cpu(self) -> dict[str, float]:
        return {role: sum(map(cpu_seconds, pids)) for role, pids in self._roles.items()}


def measure(scenario: str, agents: int, ticks: int, sets: tuple[str, ...]) -> str:
    """The figures of one run in this process, which runs nothing else."""
    told = Measured(ticks)
    with tempfile.TemporaryDirectory() as out:
        run = swarm.run(scenario, agents=agents, ticks=ticks, sets=sets, out=out, progress=told)
    wall_ms = 1000 * sum(run.timings["seconds_by_phase"][p] for p in ("step", "clear", "write"))
    cells = [f"{agents:,}", str(run.manifest["hosts"]), f"{wall_ms / ticks:.0f}"]
    cells += [f"{ms:.1f}" for ms in told.cpu_ms.values()] + [f"{told.host_mb:.0f}"]
    cells += [f"{told.mb[role]:.0f}" for role in ("market", "driver", "ray")]
    return "| " + " | ".join(cells) + " |"


@click.command()
@click.option("--agents", multiple=True, type=int, default=(100, 1_000, 10_000), show_default=True)
@click.option("--ticks", default=24, show_default=True, type=click.IntRange(min=2))
@click.option("--scenario", default="price_spike", show_default=True)
@click.option("--set", "sets", multiple=True, metavar="FIELD=VALUE", help="As of `swarm run`.")
def main(agents: tuple[int, ...], ticks: int, scenario: str, sets: tuple[str, ...]) -> None:
    """Run each number of agents once, packed as `--agents-per-actor auto` does."""
    click.echo(
        "| agents | hosts | ms a tick | CPU-ms a tick: hosts | market | driver | Ray", nl=False
    )
    click.echo(" | MB: one host | market | driver | Ray |\n|" + "---|" * 11)
    for count in agents:
        # A process of its own each: peaks of memory never go down.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            click.echo(pool.submit(measure, scenario, count, ticks, sets).result())


if __name__ == "__main__":
    main()
