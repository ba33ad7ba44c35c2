"""What watching a run costs: its ticks with metrics and traces over those without.

    python benchmarks/telemetry.py [--engine inline] [--scenario price_spike] [--ticks 288]
        [--repeat 5] [--json FILE]

Every repetition runs each mode once, in an order that turns, and gives a ratio per mode. Shown are
ratios of seconds of this process's CPU, which a busy machine moves less than the clock, and of the
clock. A run of one tick is taken off both: what comes before the ticks. With Ray only the clock
says all. Traces go by OTLP over HTTP to a receiver in a process of its own that only answers.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

import swarm
from swarm.runtime.telemetry import Watched
from swarm.telemetry.caller import Below
from swarm.telemetry.tracing import Tracing

MODES = {
    "alone": Watched(),
    "metrics": Watched(metrics_port=0),
    "traces 10 %": Watched(traced_ratio=0.1),
    "traces 100 %": Watched(traced_ratio=1.0),
}


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Says nothing."""


def _serve(ports: Any) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Taker)
    ports.put(server.server_port)
    server.serve_forever()


def spent(watched: Watched, ticks: int, scenario: str, engine: Any) -> np.ndarray:
    """Seconds of this process's CPU and of the clock that a run takes, (2,)."""
    begin = time.process_time(), time.perf_counter()
    swarm.run(scenario, ticks=ticks, engine=engine, out=None, watched=watched)
    return np.array([time.process_time() - begin[0], time.perf_counter() - begin[1]])


def traced_us(ratio: float, ticks: int = 2000) -> float:
    """CPU of this process for the spans of a tick of one host, sending included, microseconds."""
    tracing, below = Tracing(ratio, "run", {}), Below("host")
    begin = time.process_time()
    for tick in range(ticks):
        tracing.begin_tick(tick)
        tracing.begin("step")
        with below.span("shard step", tracing.caller()):
            pass
        tracing.begin("write")
        tracing.end("write")
        tracing.end("step")
        tracing.begin("clear")
        with below.span("operate", tracing.caller()):
            pass
        with below.span("clear", tracing.caller()) as span:
            below.past(span, "contract", (time.time_ns(), time.time_ns()))
        tracing.end("clear")
        tracing.end_tick()
    tracing.finish()
    tracing.spans.flush()
    below.flush()
    return 1e6 * (time.process_time() - begin) / ticks


@click.command()
@click.option("--engine", default="inline", show_default=True)
@click.option("--scenario", default="price_spike", show_default=True)
@click.option("--ticks", default=288, show_default=True)
@click.option("--repeat", default=5, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write JSON here.")
def main(engine: Any, scenario: str, ticks: int, repeat: int, json_file: Path | None) -> None:
    """Run all modes side by side, and print the ratio of each."""
    ports: Any = multiprocessing.get_context("spawn").Queue()
    context = multiprocessing.get_context("spawn")
    receiver = context.Process(target=_serve, args=(ports,), daemon=True)
    receiver.start()
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{ports.get()}"
    for ratio in (0.0, 0.1, 1.0):
        click.echo(
            f"spans alone, {ratio:4.0%} of the ticks  {traced_us(ratio):.1f} us of CPU a tick"
        )
    before = np.median([spent(Watched(), 1, scenario, engine) for _ in range(4)], axis=0)
    seconds: dict[str, list[np.ndarray]] = {mode: [] for mode in MODES}
    for turn in range(repeat):
        order = list(MODES)[turn % len(MODES) :] + list(MODES)[: turn % len(MODES)]
        for mode in order:
            seconds[mode].append(spent(MODES[mode], ticks, scenario, engine) - before)
    receiver.terminate()
    found = {}
    for mode, each in seconds.items():
        ratio = np.array(each) / np.array(seconds["alone"])
        found[mode] = {
            f"{clock}_{name}": round(float(value), 4)
            for at, clock in enumerate(("cpu", "clock"))
            for name, value in (
                ("ms_per_tick", 1000 * np.median(np.array(each)[:, at]) / ticks),
                ("ratio", np.median(ratio[:, at])),
                ("low", ratio[:, at].min()),
                ("high", ratio[:, at].max()),
            )
        }
        click.echo(
            f"{mode:14} " + "  ".join(f"{key} {value}" for key, value in found[mode].items())
        )
    if json_file is not None:
        answer = {"machine": facts(), "engine": engine, "scenario": scenario, "ticks": ticks}
        json_file.write_text(json.dumps({**answer, "modes": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
