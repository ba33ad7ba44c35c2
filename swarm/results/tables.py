"""The tables of a run: their columns, and their bytes.

| table | one row for each | from |
|---|---|---|
| market | tick | `TickRecord` |
| grid | tick | `Balance` |
| kinds | tick and kind | sums over all agents of the kind, see `by_kind` |
| agents | tick and agent, or sampled agent | `TickRecord`, `Meters` |
| registry | agent | id, fleet, kind, and its `parameters` as JSON with sorted keys |
| orders | tick and order, where the scenario keeps them | `Orders` |

`agent` is the global index (int32) that joins `agents` and `orders` with `registry`; in `orders`
the index after the last agent is the connection outside. Power is in whole watts, money in
millionths (`_micro`) of the scenario's currency, prices in thousandths (`_milli_per_mwh`): the
market's own grid, so nothing is rounded. A price is null where nothing traded. The schema's
metadata give `currency`, `tick_minutes` and `start`, the local time at which tick 0 starts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from swarm.grid.operator import Balance
from swarm.market.auctioneer import TickRecord
from swarm.messages import FLOAT_METERS, METER_COLUMNS
from swarm.results.by_kind import FLOAT_COLUMNS, INT_COLUMNS
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario

TABLES = ("market", "grid", "kinds", "agents", "registry", "orders")
ROWS_PER_GROUP = 100_000
TICKS_PER_GROUP = 2016
"""Most ticks of a row group: a week of five minutes."""
ORDERS_PER_AGENT = 4
"""Typical number of orders of an agent in a tick; only sizes the parts of `orders`."""

MARKET_FIELDS = {
    "tick": "tick",
    "price_milli": "price_milli_per_mwh",
    "status": "status",
    "volume_w": "volume_w",
    "welfare_per_h": "welfare_per_h",
    "supply_offered_w": "supply_offered_w",
    "demand_bid_w": "demand_bid_w",
    "orders": "orders",
    "outside_price_milli": "outside_price_milli_per_mwh",
    "imported_w": "imported_w",
    "imbalance_price_milli": "imbalance_price_milli_per_mwh",
    "operator_micro": "operator_micro",
    "rounding_micro": "rounding_micro",
    "outside_micro": "outside_micro",
}
"""Field of `TickRecord` -> column of the market's table."""
GRID_FIELDS: tuple[str, ...] = Balance.__struct_fields__
METER_NAMES = {"marginal_cost_milli": "marginal_cost_milli_per_mwh"}
"""Column of `Meters` -> column of the agents' table, where they differ."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "market": tuple(MARKET_FIELDS.values()),
    "grid": GRID_FIELDS,
    "kinds": ("tick", "kind", "agents", *INT_COLUMNS, *FLOAT_COLUMNS),
    "agents": (
        "tick",
        "agent",
        "contract_w",
        "received_micro",
        *(METER_NAMES.get(name, name) for name in METER_COLUMNS),
    ),
    "registry": ("agent", "id", "fleet", "kind", "in_agents_table", "parameters"),
    "orders": ("tick", "agent", "side", "price_milli_per_mwh", "quantity_w", "accepted_w"),
}
"""Columns of each table; int64 unless `_SPECIAL_TYPES` says otherwise."""
_SPECIAL_TYPES = {
    "tick": pa.int32(),
    "agent": pa.int32(),
    "agents": pa.int32(),
    "side": pa.int8(),
    "welfare_per_h": pa.float64(),
    "in_agents_table": pa.bool_(),
    **dict.fromkeys(("status", "kind", "id", "fleet", "parameters"), pa.string()),
    **dict.fromkeys(FLOAT_METERS, pa.float64()),
}


def schema_of(table: str, scenario: Scenario) -> pa.Schema:
    """Names, types and metadata of a table."""
    metadata = {
        "currency": scenario.currency,
        "tick_minutes": str(scenario.tick_minutes),
        "start": scenario.start.isoformat(),
    }
    fields = [(name, _SPECIAL_TYPES.get(name, pa.int64())) for name in COLUMNS[table]]
    return pa.schema(fields, metadata=metadata)


def ticks_per_group(rows_per_tick: int) -> int:
    """Ticks of one row group: about `ROWS_PER_GROUP` rows at most, at least one tick."""
    return max(1, min(TICKS_PER_GROUP, ROWS_PER_GROUP // max(1, rows_per_tick)))


def market_row(record: TickRecord) -> tuple[Any, ...]:
    """The row of one tick in the market's table."""
    return tuple(getattr(record, name) for name in MARKET_FIELDS)


def grid_row(balance: Balance) -> tuple[Any, ...]:
    """The row of one tick in the grid's table."""
    return tuple(getattr(balance, name) for name in GRID_FIELDS)


def agent_columns(record: TickRecord, agents: np.ndarray | None) -> list[np.ndarray]:
    """Columns of one tick in the agents' table from `contract_w` on; None takes all agents."""
    columns = [record.contract_w, record.received_micro]
    columns += [getattr(record.meters, name) for name in METER_COLUMNS]
    return columns if agents is None else [column[agents] for column in columns]


def table_of_rows(schema: pa.Schema, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """A table of one row of scalars for each tick, of one at least; None becomes null."""
    return _table(schema, list(zip(*rows, strict=True)))


def table_of_blocks(schema: pa.Schema, blocks: Sequence[Sequence[np.ndarray]]) -> pa.Table:
    """A table of one block of aligned columns for each tick, of one at least."""
    return _table(schema, [np.concatenate(column) for column in zip(*blocks, strict=True)])


def registry_table(
    schema: pa.Schema, rosters: Sequence[Roster], in_agents_table: np.ndarray
) -> pa.Table:
    """One row for each agent, in global order; `in_agents_table` is bool (agents,)."""
    parameters = [
        json.dumps(asset, sort_keys=True, separators=(",", ":"), allow_nan=False)
        for roster in rosters
        for asset in roster.assets
    ]
    columns = [
        np.arange(len(in_agents_table), dtype=np.int32),
        [name for roster in rosters for name in roster.ids],
        [fleet for roster in rosters for fleet in roster.fleets],
        [roster.kind for roster in rosters for _ in roster.ids],
        in_agents_table,
        parameters,
    ]
    return _table(schema, columns)


def _table(schema: pa.Schema, columns: Sequence[Any]) -> pa.Table:
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as a Parquet file: a function of its contents alone.

    Every option that shapes the bytes is fixed here. Numbers are stored plain: on metered values
    the writer tries dictionaries and gives them up, at four times the time.
    """
    strings = [field.name for field in table.schema if pa.types.is_string(field.type)]
    by_tick = "tick" in table.schema.names
    stream = pa.BufferOutputStream()
    pq.write_table(
        table,
        stream,
        # Cut by tick already: what is here is one group.
        row_group_size=max(1, len(table)) if by_tick else ROWS_PER_GROUP,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        use_dictionary=strings,
        write_statistics=True,
        write_page_checksum=True,
    )
    data: bytes = stream.getvalue().to_pybytes()
    return data


def read_parquet(source: Any) -> pa.Table:
    """Read one part, checking its page checksums.

    Raises:
        OSError, pyarrow.ArrowException: where it is not a whole Parquet file.
    """
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        return file.read()
