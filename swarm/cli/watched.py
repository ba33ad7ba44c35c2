"""Options of commands that run something: how it is watched from outside, and what it tells."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from swarm.errors import UsageError

if TYPE_CHECKING:
    from swarm.runtime.telemetry import Watched

RATIO = "OTEL_TRACES_SAMPLER_ARG"
_OPTIONS = (
    click.option(
        "--metrics-port", type=int, metavar="N", help="Serve metrics to Prometheus on this port."
    ),
    click.option(
        "--metrics-host",
        default="127.0.0.1",
        show_default=True,
        metavar="HOST",
        help="Address that --metrics-port listens on.",
    ),
    click.option("--otel", is_flag=True, help="Send traces by OTLP, as the variables OTEL_* say."),
    click.option(
        "--otel-ratio",
        type=float,
        metavar="SHARE",
        help=f"Share of the ticks to trace; by default {RATIO}, else 0.1. Emergencies and errors "
        "always are.",
    ),
    click.option(
        "--pace", default=0.0, metavar="SECONDS", help="Take at least so long for each tick."
    ),
    click.option(
        "--hold", default=0.0, metavar="SECONDS", help="Serve metrics for so long after the end."
    ),
)

_TOLD = (
    click.option("--watch", is_flag=True, help="Show a live dashboard of the run."),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Of what is told on stderr.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout."),
    click.option("--quiet", is_flag=True, help="No progress and no summary."),
)


def told_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what a run tells, and how, to a command."""
    for option in reversed(_TOLD):
        command = option(command)
    return command


def watched_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def watched(
    metrics_port: int | None,
    metrics_host: str,
    otel: bool,
    otel_ratio: float | None,
    pace: float,
    hold: float,
) -> Watched:
    """What the options ask for.

    Raises:
        UsageError: a share without traces, or a variable that is no share.
    """
    from swarm.runtime.telemetry import Watched

    if otel_ratio is not None and not otel:
        raise UsageError("--otel-ratio is a share of what --otel traces: give both")
    return Watched(metrics_port, metrics_host, _ratio(otel_ratio) if otel else None, pace, hold)


def _ratio(asked: float | None) -> float:
    if asked is not None:
        return asked
    from swarm.runtime.telemetry import TRACED

    given = os.environ.get(RATIO, str(TRACED))
    try:
        return float(given)
    except ValueError:
        raise UsageError(f"{RATIO}={given!r}: expected a share from 0 to 1") from None
