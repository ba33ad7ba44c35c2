"""A run's folder with an audit log, written with the library: four agents, some ticks.

Agent 3's key is revoked, so its contracts are refused. Agent 2 has a contract in even ticks only.
In tick 1 a policy clips an offer of agent 1, and what agent 0 was to discharge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from swarm.results.audit import AuditWriter, write_public_keys
from swarm.results.folder import (
    CHECKSUMS,
    checksum_lines,
    checksums_of,
    digest_of,
    write_bytes,
    write_json,
    write_text,
)
from swarm.results.tables import parquet_bytes, schema_of
from swarm.scenario.schema import Scenario
from swarm.trust.contracts import build_contracts, countersign, countersign_shard, seal_tick
from swarm.trust.dispatch import Reason
from swarm.trust.keys import Key, key_from_seed, market_key, simulation_keys
from swarm.trust.records import (
    POWER,
    PRICE,
    Contracts,
    Countersignatures,
    Dispatches,
    EmergencySteps,
    Record,
    Refusals,
    Violations,
)

SEED = 7
AGENTS = 4
IDS = ["batteries-0", "batteries-1", "town-0", "town-1"]
RUN = hashlib.sha256(b"audited").digest()
PRICE_MILLI = 40_000
FIRST_PART = 3
"""Ticks in the first part of the table of agents; the second has the rest."""
SCENARIO = Scenario.model_validate(
    {
        "name": "audited",
        "seed": SEED,
        "tick_minutes": 15,
        "currency": "EUR",
        "fleets": [
            {"name": "batteries", "kind": "storage", "count": 2},
            {"name": "town", "kind": "consumer", "count": 2},
        ],
    }
)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def codes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int8)


def quantities_w(tick: int) -> np.ndarray:
    """What each agent was awarded; zero: no contract."""
    return ints(500 + tick, -70, 90 if tick % 2 == 0 else 0, -30)


def keys_of(kind: str) -> tuple[Key, list[Key]]:
    """The market's and the agents' keys, from the seed or as a folder would hold them."""
    if kind == "seed":
        return market_key(SEED), simulation_keys(SEED, 0, AGENTS)
    market, *agents = (key_from_seed(bytes([owner + 1]) * 32) for owner in range(AGENTS + 1))
    return market, agents


def records_of(tick: int, market: Key, keys: Sequence[Key], per_shard: bool) -> list[Record]:
    """What the log has of one tick."""
    agent = np.flatnonzero(quantities_w(tick))
    quantity_w = quantities_w(tick)[agent]
    price = np.full(len(agent), PRICE_MILLI)
    reserve_w = np.zeros((len(agent), 4), np.int64)
    reserve_w[1] = 0, 8, 0, 0
    contracts = build_contracts(RUN, tick, agent, quantity_w, price, reserve_w)
    seal, _ = seal_tick(market, RUN, tick, contracts)
    if per_shard:
        # One key for agents 0 to 2, whether or not they have a contract.
        first, bound = ints(0), ints(3)
        signatures = [countersign_shard(keys[0], contracts[:-1]).signature]
    else:
        first, bound = agent[:-1], np.ones(len(agent) - 1, np.int64)
        given = countersign([keys[at] for at in agent[:-1]], contracts[:-1])
        signatures = [one.signature for one in given]
    rows = np.frombuffer(b"".join(signatures), np.uint8).reshape(-1, 64)
    power_w = quantity_w[:-1].copy()
    offered: list[Record] = []
    acted: list[Record] = []
    if tick == 1:
        rules = ("max_discharge", "max_price")
        at = ints(1, 1), codes(0, 1), codes(0, 1), codes(POWER, PRICE)
        offered = [Violations(1, "offer", rules, *at, ints(90, 45_000), ints(70, PRICE_MILLI))]
        at = ints(0), codes(3), codes(0), codes(POWER)
        acted = [Violations(1, "dispatch", rules, *at, ints(501), ints(0))]
        power_w[0] = -20  # its load goes on
    late: list[Record] = []
    if tick == 2:
        steps = np.array([0.25]), np.array([2e6]), np.array([49.5])
        late = [EmergencySteps(2, ("storage",), *steps)]
    return [
        Contracts(tick, tick, seal.root, seal.signature, agent, quantity_w, price, reserve_w),
        *offered,
        Countersignatures(tick, first, bound, rows),
        *acted,
        Dispatches(tick, agent[:-1], power_w),
        Refusals(tick, "dispatch", agent[-1:], codes(Reason.REVOKED)),
        *late,
    ]


def audited(
    folder: Path,
    ticks: int = 5,
    *,
    keys: str = "seed",
    per_shard: bool = False,
    status: str = "finished",
    anchored: int | None = None,
    agents: Sequence[int] = range(AGENTS),
    shadow: bool = False,
) -> Path:
    """Write the folder of a run.

    Args:
        folder: made here.
        ticks: its length.
        keys: `seed` or `folder`.
        per_shard: one signature for the agents 0 to 2.
        status: of the manifest.
        anchored: where the run was cut off: ticks before the newest anchor.
        agents: in the table of agents.
        shadow: as the manifest says.
    """
    folder.mkdir()
    market, agent_keys = keys_of(keys)
    writer = AuditWriter(folder, RUN, market)
    anchor: dict[str, Any] | None = None
    for tick in range(ticks):
        writer.write(tick, records_of(tick, market, agent_keys, per_shard))
        if anchored == tick + 1:
            writer.anchor()
    if status == "finished":
        anchor = writer.anchor()
    writer.close()
    public = [key.public for key in agent_keys]
    trust = {
        "run_id": RUN.hex(),
        "signatures": "per_shard" if per_shard else "per_agent",
        "keys": keys,
        "market_public_key": market.public.hex(),
        "public_keys_sha256": write_public_keys(folder, IDS, public),
        "anchor": anchor,
        "shadow": shadow,
    }
    manifest = {"status": status, "seed": SEED, "ticks": ticks, "trust": trust}
    write_json(folder / "manifest.json", manifest)
    write_tables(folder, ticks, agents)
    return folder


def write_tables(folder: Path, ticks: int, agents: Sequence[int] = range(AGENTS)) -> None:
    """The tables, and checksums that fit them."""
    table = np.repeat(np.arange(ticks), len(agents))
    shown = np.tile(np.array(agents), ticks)
    contract_w = np.concatenate([quantities_w(tick)[list(agents)] for tick in range(ticks)])
    columns = {"tick": table, "agent": shown, "contract_w": contract_w, "delivered_w": contract_w}
    columns["received_micro"] = contract_w * 10
    columns["forecast_w"], columns["forecast_error_w"] = contract_w - 5, np.full(len(table), 3)
    for part, rows in enumerate((table < FIRST_PART, table >= FIRST_PART)):
        chosen = {name: column[rows] for name, column in columns.items()}
        put(folder, f"data/agents/part-{part:05d}.parquet", "agents", chosen)
    market = {"tick": np.arange(ticks), "price_milli_per_mwh": np.full(ticks, PRICE_MILLI)}
    put(folder, "data/market/part-00000.parquet", "market", market)
    kinds = ["storage", "storage", "consumer", "consumer"]
    registry = {"agent": np.arange(AGENTS), "id": IDS, "kind": kinds}
    registry["in_agents_table"] = [agent in agents for agent in range(AGENTS)]
    put(folder, "data/registry/part-00000.parquet", "registry", registry)
    seal_tables(folder)


def put(folder: Path, path: str, table: str, columns: dict[str, Any]) -> None:
    """Write a part with these columns, the rest of the table's empty or zero."""
    schema = schema_of(table, SCENARIO)
    size = len(next(iter(columns.values())))
    zero = {pa.string(): "", pa.bool_(): False}
    arrays = [
        pa.array(columns.get(field.name, [zero.get(field.type, 0)] * size), field.type)
        for field in schema
    ]
    write_bytes(folder / path, parquet_bytes(pa.Table.from_arrays(arrays, schema=schema)))


def seal_tables(folder: Path) -> None:
    """Checksums and digest for the tables as they are now."""
    checksums = checksums_of(folder)
    write_text(folder / CHECKSUMS, checksum_lines(checksums))
    manifest = json.loads((folder / "manifest.json").read_text())
    write_json(folder / "manifest.json", manifest | {"digest": digest_of(checksums)})
    for name in ("metrics.json", "timings.json"):
        write_json(folder / name, {})


def edit_manifest(folder: Path, **changes: Any) -> None:
    """Replace fields of the manifest; those named `trust_x` in its section trust."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, value in changes.items():
        if name.startswith("trust_"):
            manifest["trust"][name.removeprefix("trust_")] = value
        else:
            manifest[name] = value
    write_json(path, manifest)
