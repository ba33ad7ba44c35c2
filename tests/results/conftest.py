"""A run of four ticks written by hand, and streams of any length and numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import MW, Stream, operated_of, record_of, row

from swarm.grid.feeder_table import FeederTable
from swarm.messages import FLOAT_METERS, METER_COLUMNS, Orders, Response
from swarm.results.folder import write_json
from swarm.results.run import Run, finished_run
from swarm.results.writer import Results, ResultWriter
from swarm.scenario.fleets import rosters
from swarm.scenario.schema import Scenario


@pytest.fixture
def by_hand_scenario() -> Scenario:
    return Scenario.model_validate(
        {
            "name": "by_hand",
            "seed": 3,
            "ticks": 4,
            "tick_minutes": 30,
            "currency": "EUR",
            "outside": {
                "import_limit_mw": 9,
                "export_limit_mw": 9,
                "import_premium_per_mwh": 2,
                "renewable_share": 0.5,
                "emissions_kg_per_mwh": 400,
            },
            "fleets": [
                {"name": "town", "kind": "consumer", "count": 1},
                {"name": "car", "kind": "ev", "count": 1},
                {
                    "name": "plant",
                    "kind": "generator",
                    "agents": [{"name": "plant-1", "renewable": True}, {"name": "plant-2"}],
                },
                {"name": "sun", "kind": "solar", "count": 1},
            ],
        }
    )


@pytest.fixture
def by_hand_stream() -> Stream:
    """Imports; a dark tick; negative prices and exports; scarcity with an imbalance."""
    euros = 1_000_000
    first = record_of(
        0,
        5,
        price_milli=50_000,
        status="cleared",
        volume_w=10 * MW,
        outside_price_milli=46_000,
        imported_w=3 * MW,
        outside_micro=75 * euros,
        contract_w=row(scale=MW, a0=-10, a2=2, a3=4, a4=1),
        received_micro=row(scale=euros, a0=-250, a2=50, a3=100, a4=25),
        meters={
            "generation_w": row(scale=MW, a2=2, a3=4, a4=1),
            "load_w": row(scale=MW, a0=10),
            "cost_micro": row(scale=euros, a2=5, a3=80),
            "emissions_g": row(a3=1_800_000),
            "marginal_cost_milli": row(a2=5_000, a3=40_000),
        },
    )
    dark = record_of(
        1,
        5,
        outside_price_milli=46_000,
        meters={"unserved_w": row(scale=MW, a0=6), "curtailed_w": row(scale=MW, a4=1)},
    )
    negative = record_of(
        2,
        5,
        price_milli=-10_000,
        status="cleared",
        volume_w=6 * MW,
        outside_price_milli=-10_000,
        imported_w=-2 * MW,
        outside_micro=10 * euros,
        contract_w=row(scale=MW, a0=-4, a4=6),
        received_micro=row(scale=euros, a0=20, a4=-30),
        meters={
            "generation_w": row(scale=MW, a4=6),
            "load_w": row(scale=MW, a0=4),
            "battery_w": row(scale=MW, a1=-0.5),
            "shifted_w": row(scale=MW, a0=1),
            "backlog_mwh": np.array([0.5, 0, 0, 0, 0]),
            "missed_mwh": np.array([0, 0.25, 0, 0, 0]),
            "stored_mwh": np.array([0, 0.125, 0, 0, 0]),
        },
    )
    scarce = record_of(
        3,
        5,
        price_milli=3_000_000,
        status="scarcity",
        volume_w=1 * MW,
        operator_micro=5 * euros,
        rounding_micro=-1,
        contract_w=row(scale=MW, a0=-1, a3=1),
        received_micro=row(a0=-1_500_000_000, a3=1_495_000_001),
        meters={
            "generation_w": row(scale=MW, a3=1),
            "load_w": row(scale=MW, a0=1),
            "shifted_w": row(scale=MW, a0=-0.5),
            "backlog_mwh": np.array([0.25, 0, 0, 0, 0]),
            "cost_micro": row(scale=euros, a3=20),
            "marginal_cost_milli": row(a3=40_000),
        },
    )
    return [
        (first, operated_of(0, generation_w=7 * MW, load_w=10 * MW, import_w=3 * MW)),
        (dark, operated_of(1, unserved_w=8 * MW, shed_w=2 * MW, curtailed_w=1 * MW)),
        (negative, operated_of(2, generation_w=6 * MW, export_w=2 * MW, spilled_w=MW)),
        (scarce, operated_of(3, generation_w=1 * MW, load_w=1 * MW)),
    ]


@pytest.fixture
def random_stream() -> Callable[..., Stream]:
    """(agents, ticks) -> a stream of random numbers, which need not make sense together."""

    def make(agents: int, ticks: int, orders: bool = False) -> Stream:
        rng = np.random.default_rng(agents)
        stream: Stream = []
        for tick in range(ticks):
            ints = rng.integers(-(10**12), 10**12, (len(METER_COLUMNS) + 2, agents))
            meters: dict[str, np.ndarray] = dict(zip(METER_COLUMNS, ints, strict=False))
            meters |= {name: rng.normal(size=agents) for name in FLOAT_METERS}
            activated, shed, held_back = rng.integers(-(10**9), 10**9, (3, agents))
            given: dict[str, Any] = {
                "response": Response(activated, abs(shed), abs(held_back)),
                "reserve_received_micro": shed - held_back,
            }
            if orders:
                count = tick % 3
                ids = np.arange(count, dtype=np.int64)
                side = np.full(count, -1, dtype=np.int8)
                given["book"] = Orders(side, ids * 1000, ids + 7, ids)
                given["accepted_w"] = ids + 1
            record = record_of(
                tick,
                agents,
                price_milli=None if tick % 3 == 1 else int(rng.integers(-500, 3000)),
                volume_w=int(rng.integers(0, 10**9)),
                contract_w=ints[-2],
                received_micro=ints[-1],
                meters=meters,
                **given,
            )
            stream.append((record, operated_of(tick, load_w=int(rng.integers(0, 10**9)))))
        return stream

    return make


@pytest.fixture
def homes() -> Callable[..., Scenario]:
    """(agents, grid section, results section) -> a scenario of homes and storages."""

    def make(
        agents: int, /, *, seed: int = 1, grid: dict[str, Any] | None = None, **results: Any
    ) -> Scenario:
        fleets = [
            {"name": "homes", "kind": "home", "count": agents // 2},
            {"name": "batteries", "kind": "storage", "count": agents - agents // 2},
        ]
        return Scenario.model_validate(
            {"name": "homes", "seed": seed, "fleets": fleets, "results": results, "grid": grid}
        )

    return make


@pytest.fixture
def write() -> Callable[..., Results]:
    """(scenario, stream, folder, feeder) -> what the writer makes of it."""

    def run(
        scenario: Scenario,
        stream: Stream,
        folder: Path | None = None,
        feeder: FeederTable | None = None,
    ) -> Results:
        writer = ResultWriter(scenario, rosters(scenario), folder, feeder)
        for record, operated in stream:
            writer.write(record, operated)
        return writer.finish()

    return run


@pytest.fixture
def finished(
    write: Callable[..., Results], by_hand_scenario: Scenario, by_hand_stream: Stream
) -> Callable[[Path], Run]:
    """A folder -> the run by hand in it, as a session leaves it."""

    def make(folder: Path) -> Run:
        folder.mkdir(parents=True, exist_ok=True)
        results = write(by_hand_scenario, by_hand_stream, folder)
        timings = {"wall_seconds": 1.5, "ticks_per_second": 2.5}
        manifest = {"status": "finished", "scenario": "by_hand", "seed": 3}
        manifest["digest"] = results.digest
        write_json(folder / "manifest.json", manifest)
        write_json(folder / "metrics.json", results.metrics)
        write_json(folder / "timings.json", timings)
        return finished_run(folder, manifest, timings, results)

    return make
