"""The tables of a run: their columns, and their bytes.

| table | one row for each | from |
|---|---|---|
| market | tick | `TickRecord` |
| grid | tick | `Balance` |
| events | event inside an interval, where the scenario has a grid | `swarm.grid.balance.Event` |
| trace | sample of frequency in a disturbed interval, likewise | `Trace` |
| buses | tick and bus, where there is a feeder | `Voltages` |
| lines | tick and line, likewise | `Voltages` |
| kinds | tick and kind | sums over all agents of the kind, see `by_kind` |
| agents | tick and agent, or sampled agent | `TickRecord`, `Meters` |
| registry | agent | id, fleet, kind, and its `parameters` as JSON with sorted keys |
| orders | tick and order, where the scenario keeps them | `Orders` |

`agent` is the global index (int32) that joins `agents` and `orders` with `registry`; in `orders`
the index after the last agent is the connection outside. Power is in whole watts, money in
millionths (`_micro`) of the scenario's currency, prices in thousandths (`_milli_per_mwh`, of
reserve `_milli_per_mw_h`): the market's own grid, so nothing is rounded. `delivered_w` and the
other meters of an agent are its schedule as it ran; what flowed at its meter in the end is
`delivered_w + activated_w + shed_w - held_back_w`. A price is null where nothing traded, and so
is every value that nobody measured (frequency without a grid, voltage without a feeder). The
schema's metadata give `currency`, `tick_minutes` and `start`, the local time at which tick 0
starts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from swarm.grid.balance import Balance, Event, Trace, Voltages
from swarm.market.record import TickRecord
from swarm.messages import FLOAT_METERS, RESERVE_PRODUCTS
from swarm.results.by_kind import (
    FLOAT_COLUMNS,
    HELD_FIELDS,
    INT_COLUMNS,
    RESPONSE_FIELDS,
    WRITTEN_METERS,
)
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario

TABLES = (
    *("market", "grid", "kinds", "agents", "registry", "orders"),
    *("events", "trace", "buses", "lines"),
)
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
    "availability_micro": "availability_micro",
    "activation_micro": "activation_micro",
    "reserve_penalty_micro": "reserve_penalty_micro",
}
"""Field of `TickRecord` -> column of the market's table."""
RESERVE_FIELDS = {
    "reserve_asked_w": "{}_asked_w",
    "reserve_bought_w": "{}_bought_w",
    "reserve_price_milli": "{}_price_milli_per_mw_h",
}
"""Field of `TickRecord` with a value for each reserve product -> column for each."""
PHYSICAL_COLUMNS = ("reserve_received_micro", *RESPONSE_FIELDS, *HELD_FIELDS)
"""Columns of the agents' table where the scenario has a grid."""
NEGOTIATION_COLUMNS = ("rounds", "consensus", "agreed")
"""Columns of the market's table where prices are negotiated: calls, whether the last one was the
price wanted, and agents that took part."""
GRID_FIELDS: tuple[str, ...] = Balance.__struct_fields__
BOOL_FIELDS = ("connected", "feeder_converged", "consensus")
FLOAT_FIELDS = tuple(
    name for name in GRID_FIELDS if name.endswith(("_hz", "_hz_per_s", "_s", "_pu"))
)
METER_NAMES = {"marginal_cost_milli": "marginal_cost_milli_per_mwh"}
"""Column of `Meters` -> column of the agents' table, where they differ."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "market": (
        *MARKET_FIELDS.values(),
        *(name.format(p) for name in RESERVE_FIELDS.values() for p in RESERVE_PRODUCTS),
    ),
    "grid": GRID_FIELDS,
    "kinds": ("tick", "kind", "agents", *INT_COLUMNS, *FLOAT_COLUMNS),
    "agents": (
        "tick",
        "agent",
        "contract_w",
        "received_micro",
        *(METER_NAMES.get(name, name) for name in WRITTEN_METERS),
    ),
    "registry": ("agent", "id", "fleet", "kind", "in_agents_table", "parameters"),
    "orders": ("tick", "agent", "side", "price_milli_per_mwh", "quantity_w", "accepted_w"),
    "events": Event.__struct_fields__,
    "trace": ("tick", *Trace.__struct_fields__),
    "buses": ("tick", "bus", "voltage_pu", "power_w", "reactive_var"),
    "lines": ("tick", "line", "loading", "losses_w"),
}
"""Columns of each table; int64 unless `_SPECIAL_TYPES` says otherwise."""
_SPECIAL_TYPES = {
    "tick": pa.int32(),
    "agent": pa.int32(),
    "agents": pa.int32(),
    "side": pa.int8(),
    "welfare_per_h": pa.float64(),
    "in_agents_table": pa.bool_(),
    **dict.fromkeys(
        ("status", "kind", "id", "fleet", "parameters", "step", "bus", "line"), pa.string()
    ),
    **dict.fromkeys(FLOAT_METERS, pa.float64()),
    **dict.fromkeys(BOOL_FIELDS, pa.bool_()),
    **dict.fromkeys(FLOAT_FIELDS, pa.float64()),
}
_FLOAT_COLUMNS = {
    "events": ("second", "power_w", "frequency_hz"),
    "trace": ("second", "frequency_hz"),
    "buses": ("voltage_pu", "power_w", "reactive_var"),
    "lines": ("loading", "losses_w"),
}
"""Columns that are float64 in one table only."""


def schema_of(table: str, scenario: Scenario) -> pa.Schema:
    """Names, types and metadata of a table."""
    metadata = {
        "currency": scenario.currency,
        "tick_minutes": str(scenario.tick_minutes),
        "start": scenario.start.isoformat(),
    }
    names = COLUMNS[table]
    if table == "agents" and scenario.grid is not None:
        names = (*names, *PHYSICAL_COLUMNS)
    if table == "market" and scenario.market.mechanism == "negotiated":
        names = (*names, *NEGOTIATION_COLUMNS)
    floats = _FLOAT_COLUMNS.get(table, ())
    fields = [
        (name, pa.float64() if name in floats else _SPECIAL_TYPES.get(name, pa.int64()))
        for name in names
    ]
    return pa.schema(fields, metadata=metadata)


def ticks_per_group(rows_per_tick: int) -> int:
    """Ticks of one row group: about `ROWS_PER_GROUP` rows at most, at least one tick."""
    return max(1, min(TICKS_PER_GROUP, ROWS_PER_GROUP // max(1, rows_per_tick)))


def market_row(record: TickRecord) -> tuple[Any, ...]:
    """The row of one tick in the market's table."""
    of_products = (value for name in RESERVE_FIELDS for value in getattr(record, name))
    agreed = record.agreed
    ended = () if agreed is None else (agreed.rounds, agreed.consensus, agreed.answered)
    return (*(getattr(record, name) for name in MARKET_FIELDS), *of_products, *ended)


def grid_row(balance: Balance) -> tuple[Any, ...]:
    """The row of one tick in the grid's table."""
    return tuple(getattr(balance, name) for name in GRID_FIELDS)


def agent_columns(
    record: TickRecord, agents: np.ndarray | None, physical: bool
) -> list[np.ndarray]:
    """Columns of one tick in the agents' table from `contract_w` on; None takes all agents."""
    columns = [record.contract_w, record.received_micro]
    columns += [getattr(record.meters, name) for name in WRITTEN_METERS]
    if physical:
        none = np.zeros_like(record.contract_w)
        paid = record.reserve_received_micro
        columns.append(paid if len(paid) else none)
        columns += [
            none if record.response is None else getattr(record.response, name)
            for name in RESPONSE_FIELDS
        ]
        columns += [getattr(record.meters, name) for name in HELD_FIELDS]
    return columns if agents is None else [column[agents] for column in columns]


def event_columns(events: Sequence[Event]) -> list[Any]:
    """Columns of the events of one tick, maybe of none."""
    rows = [tuple(getattr(event, name) for name in Event.__struct_fields__) for event in events]
    columns = list(zip(*rows, strict=True)) or [()] * len(Event.__struct_fields__)
    return [np.array(column, dtype=object) for column in columns]


def trace_columns(tick: int, trace: Trace | None) -> list[np.ndarray]:
    """Columns of the frequency inside one tick, maybe of no sample."""
    if trace is None:
        return [np.zeros(0, dtype=np.int32), np.zeros(0), np.zeros(0)]
    return [np.full(len(trace.second), tick, dtype=np.int32), trace.second, trace.frequency_hz]


def bus_columns(tick: int, names: np.ndarray, state: Voltages) -> list[np.ndarray]:
    """Columns of the buses of one tick; `names` in the order of the feeder."""
    ticks = np.full(len(names), tick, dtype=np.int32)
    return [ticks, names, state.voltage_pu, state.power_w, state.reactive_var]


def line_columns(tick: int, names: np.ndarray, state: Voltages) -> list[np.ndarray]:
    """Columns of the lines of one tick; `names` in the order of the feeder."""
    ticks = np.full(len(names), tick, dtype=np.int32)
    return [ticks, names, state.line_loading, state.line_losses_w]


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
    # from_pandas makes NaN null: what was not measured is not a number of its own.
    arrays = [
        pa.array(values, field.type, from_pandas=True)
        for values, field in zip(columns, schema, strict=True)
    ]
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
