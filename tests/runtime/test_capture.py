"""Nothing that a part remembers is missing from a checkpoint: every attribute is compared."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any

import msgspec
import numpy as np
import pytest

from swarm.loop import steps
from swarm.results.writer import ResultWriter
from swarm.runtime.inline import InlineEngine
from swarm.runtime.minds import minds_of
from swarm.runtime.packing import even
from swarm.runtime.packing import pack as packed
from swarm.runtime.setup import Plan, plan
from swarm.scenario.fleets import rosters
from swarm.scenario.load import load_scenario
from swarm.scenario.schema import Scenario
from swarm.snapshot import capture, pack, restore, unpack
from swarm.world.world import build_world

FORGOTTEN = {
    "seconds": "wall-clock time",
    "sealing_ns": "wall-clock time",
    "_published": "made anew before it is used",
    "_taken": "what was accepted in the tick that is over",
    "_update": "buffer that the next power flow overwrites",
}


def differences(one: Any, other: Any, path: str, seen: set[int]) -> list[str]:
    """Paths of all that is not the same in two objects, however deep."""
    if id(one) in seen:
        return []
    seen.add(id(one))
    parts: list[tuple[Any, Any, str]] = []
    if isinstance(one, np.ndarray):
        same = isinstance(other, np.ndarray) and one.dtype == other.dtype
        exact = one.dtype.kind != "f"
        if not same or not np.array_equal(one, other, equal_nan=not exact):
            return [path]
    elif isinstance(one, float):
        return [] if one == other or (one != one and other != other) else [path]
    elif isinstance(one, dict):
        if not isinstance(other, dict) or list(one) != list(other):
            return [path]
        parts = [(one[key], other[key], f"{path}[{key!r}]") for key in one]
    elif isinstance(one, (list, tuple, deque)):
        if type(one) is not type(other) or len(one) != len(other):
            return [path]
        parts = [(a, b, f"{path}[{at}]") for at, (a, b) in enumerate(zip(one, other, strict=True))]
    elif type(one).__module__.startswith("swarm"):
        if type(one) is not type(other):
            return [path]
        names = list(getattr(one, "__dict__", ()))
        if isinstance(one, msgspec.Struct):
            names = list(one.__struct_fields__)
        elif dataclasses.is_dataclass(one):
            names = [each.name for each in dataclasses.fields(one)]
        missing = object()
        parts = [
            (getattr(one, name), getattr(other, name, missing), f"{path}.{name}")
            for name in names
            if name not in FORGOTTEN
        ]
    elif isinstance(one, (int, str, bytes, set, type(None))):
        return [] if one == other else [path]
    return [found for a, b, where in parts for found in differences(a, b, where, seen)]


def prepared(name: str, sets: tuple[str, ...], policy: str | None) -> tuple[Scenario, Plan]:
    world = build_world(load_scenario(name, sets=sets, ticks=40).scenario, None)
    minds = minds_of(policy, None, world.scenario, rosters(world.scenario))
    return world.scenario, plan(world, minds.policy, None, minds.learned)


@pytest.mark.parametrize(
    ("name", "policy", "sets"),
    [
        ("price_spike", None, ()),
        ("price_spike", "trained", ("market.mechanism=negotiated",)),
        ("price_spike", None, ("trust.shadow=true", "results.orders=true")),
        ("emergency", None, ("start=2025-06-18T18:00:00+02:00",)),
        ("emergency", "random", ("grid.operator=trained",)),
        ("normal_day", "random", ("trust.signatures=per_shard",)),
    ],
)
def test_a_restored_part_remembers_everything(
    name: str, policy: str | None, sets: tuple[str, ...]
) -> None:
    scenario, ready = prepared(name, sets, policy)

    def parts() -> tuple[InlineEngine, ResultWriter]:
        hosts = even(ready, 2)
        market, operator = packed(ready, hosts)
        writer = ResultWriter(scenario, ready.rosters, None, ready.feeder)
        return InlineEngine(market, operator, hosts), writer

    engine, writer = parts()
    for at in steps(engine, 40, writer, lambda cleared, operated: None):
        if at.tick == 27:
            break
    fresh, fresh_writer = parts()
    named = {"market": engine.market, "operator": engine.operator, "writer": writer}
    other = {"market": fresh.market, "operator": fresh.operator, "writer": fresh_writer}
    named |= {f"host-{index}": host for index, host in enumerate(engine.hosts)}
    other |= {f"host-{index}": host for index, host in enumerate(fresh.hosts)}
    for part, held in named.items():
        data = pack(capture(held))
        restore(other[part], unpack(data))
        # Parts of tables in memory are those of a run without a folder, which has no checkpoints.
        found = differences(held, other[part], part, set())
        assert [path for path in found if path != "writer._store.parts"] == []
        assert pack(capture(other[part])) == data
