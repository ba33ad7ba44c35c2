"""Ticks, phases, hosts, memory, messages, trust."""

from __future__ import annotations

from panels import BAD, WARNING, Json, row, series, stat
from promql import NONE, ONE_IS_BAD, mean, quantile

PER_REAL_TIME = f"({mean('swarm_tick_seconds')}) / max(swarm_tick_interval_seconds)"
"""Wall-clock time of a tick over its simulated length: above 1, the run is slower than time."""


def stats() -> list[Json]:
    """The figures at the top."""
    return [
        stat(
            "Ticks",
            "Ticks cleared since the start.",
            ("swarm_ticks_total", ""),
            decimals=0,
        ),
        stat(
            "Time of a tick",
            "Mean wall-clock time of a tick over the last minute.",
            (mean("swarm_tick_seconds"), ""),
            "s",
        ),
        stat(
            "Of real time",
            "Wall-clock time of a tick over its simulated length; above 100 %, slower than time.",
            (PER_REAL_TIME, ""),
            "percentunit",
            steps=((0.5, WARNING), (1.0, BAD)),
        ),
        stat(
            "Hosts",
            "Hosts of agents: Ray actors, or parts of one process.",
            ("swarm_hosts", ""),
        ),
        stat(
            "Restarts",
            "Hosts of agents that were started again.",
            ("swarm_shard_restarts_total", ""),
            steps=((1, WARNING), (3, BAD)),
            mapping=NONE,
        ),
        stat(
            "Signature failures",
            "Contracts and offers refused for a signature or key.",
            ("swarm_signature_failures_total", ""),
            steps=ONE_IS_BAD,
            mapping=NONE,
        ),
    ]


def machine() -> list[Json]:
    """Time and memory."""
    return [
        row("Time and memory"),
        series(
            "Wall-clock time of a tick",
            "Median and 95th percentile over the last minute.",
            [
                (quantile(0.5, "swarm_tick_seconds"), "median"),
                (quantile(0.95, "swarm_tick_seconds"), "95th percentile"),
            ],
            "s",
        ),
        series(
            "Phases of a tick",
            "Mean wall-clock time of each phase over the last minute, as the driver waits for it.",
            (mean("swarm_phase_seconds", "phase"), "{{phase}}"),
            "s",
            stacked=True,
        ),
        series(
            "Speed",
            "Simulated seconds in each second of wall-clock time.",
            ("rate(swarm_simulated_seconds_total[1m])", "simulated"),
            "suffix: x",
        ),
        series(
            "Memory",
            "Resident memory by role; of actors on this machine only.",
            ("sum by (role) (swarm_process_memory_bytes)", "{{role}}"),
            "bytes",
            stacked=True,
        ),
    ]


def messages() -> list[Json]:
    """Messages and trust."""
    return [
        row("Messages and trust"),
        series(
            "Messages",
            "Messages between market and agents each second, by lane and what became of them.",
            ("sum by (lane, fate) (rate(swarm_messages_total[1m]))", "{{lane}}, {{fate}}"),
            "cps",
        ),
        series(
            "Queued",
            "Messages on the way or in an inbox, by lane.",
            ("sum by (lane) (swarm_messages_queued)", "{{lane}}"),
        ),
        series(
            "Contracts",
            "Contracts sealed each second, and those that were not acted on.",
            [
                ("rate(swarm_contracts_total[1m])", "sealed"),
                ("rate(swarm_contracts_refused_total[1m])", "refused"),
            ],
            "cps",
        ),
        series(
            "Audit log",
            "Records written to the audit log each second.",
            ("rate(swarm_audit_records_total[1m])", "records"),
            "cps",
        ),
    ]


def ray() -> list[Json]:
    """What Ray itself tells of its nodes."""
    return [
        row("Ray's own metrics (of a Ray cluster only)"),
        series(
            "Processor of nodes",
            "Busy share of each Ray node's processors, in percent.",
            ("ray_node_cpu_utilization", "{{instance}}"),
            "percent",
            w=8,
        ),
        series(
            "Object store",
            "Memory of Ray's object store by where it lies.",
            ("sum by (Location) (ray_object_store_memory)", "{{Location}}"),
            "bytes",
            w=8,
        ),
        series(
            "Actors",
            "Ray actors by state.",
            ('sum by (State) (ray_actors{Source="gcs"})', "{{State}}"),
            w=8,
        ),
    ]


def system() -> list[Json]:
    """All of it."""
    return [*stats(), *machine(), *messages(), *ray()]
