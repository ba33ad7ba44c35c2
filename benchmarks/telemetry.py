"""What watching a run costs: seconds of its ticks with metrics and traces over those without.

    python benchmarks/telemetry.py [--engine inline] [--scenario price_spike] [--ticks 288]
        [--repeat 5] [--json FILE]

Every repetition runs each mode once, in an order that turns, and gives one ratio per mode, so that
a machine that slows down slows down all of them. Traces go by OTLP over HTTP to a receiver in a
process of its own that only answers.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import numpy as np
from machine import facts

import swarm
from swarm.runtime.telemetry import Watched

MODES = {
    "alone": Watched(),
    "metrics": Watched(metrics_port=0),
    "traces 10 %": Watched(traced_ratio=0.1),
    "traces 100 %": Watched(traced_ratio=1.0),
}
BEFORE = ("prepare", "start")
"""Phases before the first tick."""


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


def ticking(timings: dict[str, Any]) -> float:
    """Seconds from the first tick to the last table."""
    by_phase = timings["seconds_by_phase"]
    return float(timings["wall_seconds"] - sum(by_phase[phase] for phase in BEFORE))


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
    seconds: dict[str, list[float]] = {mode: [] for mode in MODES}
    for turn in range(-1, repeat):
        order = list(MODES)[turn % len(MODES) :] + list(MODES)[: turn % len(MODES)]
        for mode in order:
            run = swarm.run(scenario, ticks=ticks, engine=engine, out=None, watched=MODES[mode])
            if turn >= 0:  # the first round warms up
                seconds[mode].append(ticking(run.timings))
    receiver.terminate()
    alone = np.array(seconds["alone"])
    found = {}
    for mode, spent in seconds.items():
        ratio = np.array(spent) / alone
        found[mode] = {
            "ms_per_tick": round(1000 * float(np.median(spent)) / ticks, 3),
            "ratio": round(float(np.median(ratio)), 4),
            "low": round(float(ratio.min()), 4),
            "high": round(float(ratio.max()), 4),
        }
        click.echo(
            f"{mode:14} " + "  ".join(f"{key} {value}" for key, value in found[mode].items())
        )
    if json_file is not None:
        answer = {"machine": facts(), "engine": engine, "scenario": scenario, "ticks": ticks}
        json_file.write_text(json.dumps({**answer, "modes": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
