"""What travels between market, operator and agents: typed batches, one per host and tick.

Inside one process the structs travel as they are; between processes as msgpack bytes in which an
array is dtype, shape and its raw bytes, read back without a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Codes = NDArray[np.int8]
FORECAST_HOURS = 24
RESERVE_PRODUCTS = ("containment_up", "containment_down", "restoration_up", "restoration_down")
"""Frequency containment and restoration reserve, up: more injection, down: less (ENTSO-E SO GL)."""
UP = (0, 2)
DOWN = (1, 3)
NO_RESERVE = (0,) * len(RESERVE_PRODUCTS)
NO_FORECAST = (0, 0, 0)
"""Load, wind and sun, in this order."""
NOTHING: Int = np.zeros(0, dtype=np.int64)
NO_CODES: Codes = np.zeros(0, dtype=np.int8)
_ARRAY = 1
_ARRAY_TYPES = ("<f8", "<f4", "<i8", "<i4", "<u8", "|i1", "|u1", "|b1")
Message = TypeVar("Message")
Table = TypeVar("Table", "Meters", "Orders", "ReserveOffers", "Response")


class Outcome(IntEnum):
    """What became of an order."""

    FILLED = 0
    PARTLY = 1
    """At the margin, shared with others."""
    OUT_OF_MERIT = 2
    """Its price was worse than the clearing price."""
    MARGINAL = 3
    """At the margin, and nothing was left for it."""
    NO_TRADE = 4
    """Nothing traded."""
    RESERVED = 5
    """Its power was bought as reserve instead."""
    REFUSED = 6
    """The signature on it did not hold."""


class Signal(msgspec.Struct, array_like=True, frozen=True):
    """What everybody may see at the start of a tick. Money in the scenario's currency."""

    tick: int
    price_per_mwh: float
    """Clearing price of the last tick; NaN before the first trade."""
    price_forecast: np.ndarray
    """float64 (24,): expected mean price of each of the next 24 hours, per MWh."""
    price_history: np.ndarray
    """float64 (24,): mean price of each of the last 24 hours, newest first, NaN where unknown."""
    price_floor: float
    price_cap: float
    carbon_price_per_tonne: float
    accepting: bool
    """False in the closing steps: nobody offers any more."""
    frequency_hz: float = np.nan
    """Frequency at the end of the interval before the last; NaN where it is not simulated."""
    voltage_pu: tuple[float, float] = (np.nan, np.nan)
    """Lowest and highest voltage of the feeder in that interval; NaN without a feeder."""
    emergency: bool = False
    """The emergency protocol is active: storage holds its energy, nobody adds load he can spare."""
    reserve_w: tuple[int, ...] = NO_RESERVE
    """What the operator asks for of each product of `RESERVE_PRODUCTS` in this tick."""
    forecast_w: tuple[int, ...] = NO_FORECAST
    """Load, wind and sun that all forecasters expected of the last tick."""
    forecast_error_w: tuple[int, ...] = NO_FORECAST
    """Sum of the errors they stated: a bound on the error of the sums."""


class Notice(msgspec.Struct, array_like=True, frozen=True):
    """What the market tells one host: awards of the last tick, settlement of the one before."""

    tick: int
    """Tick of the awards; the settlement is of `tick - 1`."""
    accepted_w: np.ndarray
    """int64 (orders sent,), in the order in which the host sent them."""
    received_micro: np.ndarray
    """int64 (agents of the host,): micro-currency received, negative where paid; empty at first."""
    reserve_w: np.ndarray = NOTHING
    """int64 (reserve offers sent,), what was bought of each, in the order sent."""
    response: Response | None = None
    """What the operator drew from the host's agents in the interval `tick - 1`; None: nothing."""
    outcome: np.ndarray = NO_CODES
    """int8 (orders sent,), an `Outcome` for each: why an order did not clear."""
    awards: bytes = b""
    """Signed contracts, a `swarm.trust.exchange.Awards`; empty where nothing is signed."""
    shadow: Awarded | None = None
    """What the shadow offers would have got; None: not in shadow mode."""
    traded: Traded | None = None
    """What was agreed for the host's agents, in place of `accepted_w`; None: no negotiation."""


class Traded(msgspec.Struct, array_like=True, frozen=True):
    """What some agents agreed to at one price; int64 (m,) each, one row an agent."""

    price_milli: int
    agent: np.ndarray
    """Global indices, rising."""
    supply_w: np.ndarray
    demand_w: np.ndarray


class Awarded(msgspec.Struct, array_like=True, frozen=True):
    """What was accepted of some offers, in the order in which they were sent."""

    accepted_w: np.ndarray
    """int64 (orders,)."""
    reserve_w: np.ndarray
    """int64 (reserve offers,)."""


@dataclass(frozen=True)
class Response:
    """What the operator drew from agents in one interval beyond their schedules, int64 (n,) each.

    Mean power over the interval; what really flowed at an agent's meter is
    `delivered_w + activated_w + shed_w - held_back_w`.
    """

    activated_w: Int
    """Reserve and emergency response: injection above the schedule positive, below negative."""
    shed_w: Int
    """Load cut off, zero or more."""
    held_back_w: Int
    """Generation cut back by voltage, frequency protection or blackout, zero or more."""


class Drawn(msgspec.Struct, array_like=True, frozen=True):
    """What the operator tells the market as `tick` is cleared."""

    tick: int
    reserve_w: tuple[int, ...]
    """Asked for in `tick`, by product."""
    connected: bool
    """The connection outside may trade in `tick`."""
    flow_w: int
    """What flowed in from outside in `tick - 1`, negative where out."""
    losses_w: int
    """Lost on the feeder in `tick - 1`."""
    response: Response | None
    """What was drawn from all agents in `tick - 1`, in global agent order; None: nothing."""


class Alert(msgspec.Struct, array_like=True, frozen=True):
    """The operator's emergency call to every host; it sets set points from `tick` on."""

    tick: int
    """First tick that is offered for under it."""
    active: bool
    """True: storage holds its energy and nobody adds load he can spare. False: all clear."""


class Acknowledgement(msgspec.Struct, array_like=True, frozen=True):
    """A host's answer to an alert: the set points stand."""

    tick: int
    agents: int


@dataclass(frozen=True)
class ReserveOffers:
    """Reserve offered for one tick: aligned arrays, a row for each agent and product."""

    agent: Int
    product: Int
    """Index into `RESERVE_PRODUCTS`."""
    quantity: Int
    """Watts."""
    price: Int
    """For holding it: milli-currency per MW and hour."""
    energy_price: Int
    """For its activation: milli-currency per MWh."""
    spare: Int
    """Watts in the product's direction that the agent has beyond all its energy orders; the same
    in every row of the agent and direction. What reserve needs beyond that is taken out of the
    agent's dearest sell (up) or cheapest buy (down) orders."""


@dataclass(frozen=True)
class Orders:
    """Offers of one tick: aligned arrays on the market's grid, all but `side` int64."""

    side: NDArray[np.int8]
    price: Int
    quantity: Int
    agent: Int


@dataclass(frozen=True)
class Meters:
    """What the devices did in one interval, one row per agent.

    For every kind `delivered_w == generation_w - load_w + battery_w`. Power is the mean over the
    interval in whole watts, so energy is exact.
    """

    delivered_w: Int
    """Net injection at the meter; consumption is negative."""
    generation_w: Int
    load_w: Int
    """Consumption that took place, shifts included, battery charging not."""
    battery_w: Int
    """Battery at the meter: discharge positive, charge negative."""
    available_w: Int
    """What the plant could have generated (capacity or weather)."""
    unserved_w: Int
    """Load that wanted power and got no contract for it."""
    curtailed_w: Int
    """Weather-driven power not used."""
    shifted_w: Int
    """Flexible load put off (positive) or caught up (negative)."""
    cost_micro: Int
    """True cost: fuel, CO2, starts, wear, discomfort; micro-currency."""
    emissions_g: Int
    marginal_cost_milli: Int
    """True marginal cost of a running generator at its output, milli-currency per MWh; else 0."""
    inertia_kws: Int
    """Kinetic energy of running machines, kW s."""
    up_w: Int
    """Injection it could have added: for a battery over the whole interval, for a generator what
    its ramp reaches in five minutes; reserve sold is part of it."""
    down_w: Int
    """Injection it could have taken away, likewise."""
    containment_up_w: Int
    """Containment reserve sold upwards that was there: at most what was sold and `up_w`."""
    containment_down_w: Int
    restoration_up_w: Int
    """Restoration reserve sold upwards that was there, after containment."""
    restoration_down_w: Int
    sudden_w: Int
    """Part of the deviation from schedule that came at once at the interval's start: the output
    lost by a failure, a step of load; negative where injection fell."""
    forecast_w: Int
    """What its forecaster expected of its own load and weather in the interval: generation less
    load; 0 where it has neither."""
    forecast_error_w: Int
    """The error stated with it, root mean square; -1 where it was not known yet."""
    stored_mwh: Float
    """energy in the battery at the end of the interval."""
    backlog_mwh: Float
    """load put off and not yet caught up, at the end of the interval."""
    trip_mwh: Float
    """energy a vehicle had used when it came back, in the interval of its return."""
    missed_mwh: Float
    """energy a vehicle lacked when it left, in the interval of its departure."""


METER_COLUMNS = tuple(field.name for field in fields(Meters))
ORDER_COLUMNS = tuple(field.name for field in fields(Orders))
FLOAT_METERS = ("stored_mwh", "backlog_mwh", "trip_mwh", "missed_mwh")


class StepReply(msgspec.Struct, array_like=True, frozen=True):
    """One host's answer to a step: offers for `tick`, meters of `tick - 1` (None at the first)."""

    tick: int
    orders: Orders
    meters: Meters | None
    reserve: ReserveOffers | None = None
    """None where nobody offers reserve."""
    report: bytes = b""
    """Signatures and what was done on contracts, a `swarm.trust.exchange.Report`; empty where
    nothing is signed."""
    shadow: Offers | None = None
    """What the swarm would offer; None: not in shadow mode."""
    forecast_w: tuple[int, ...] = NO_FORECAST
    """Published on `grid/forecast`: expected load, wind and sun of all agents of the host in the
    coming interval."""
    forecast_error_w: tuple[int, ...] = NO_FORECAST
    """Sum of the errors stated with them."""


class Offers(msgspec.Struct, array_like=True, frozen=True):
    """Offers of one host for one tick."""

    orders: Orders
    reserve: ReserveOffers | None


def no_meters(agents: int) -> dict[str, np.ndarray]:
    """Columns of `Meters` for `agents` devices that did nothing; fill in and pass to `Meters`."""
    return {
        name: np.zeros(agents, dtype=np.float64 if name in FLOAT_METERS else np.int64)
        for name in METER_COLUMNS
    }


def concatenate(parts: Sequence[Table]) -> Table:
    """The rows of several tables of one type one after the other; one table at least."""
    kind = type(parts[0])
    names = [field.name for field in fields(kind)]
    return kind(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def in_global_order(parts: Sequence[Meters], host_agents: Sequence[Int]) -> Meters:
    """Meters of all hosts as one table in global agent order.

    Args:
        parts: of each host.
        host_agents: global indices of the agents of each host, in the order of its rows.
    """
    columns = no_meters(sum(len(agents) for agents in host_agents))
    for part, agents in zip(parts, host_agents, strict=True):
        for name in METER_COLUMNS:
            columns[name][agents] = getattr(part, name)
    return Meters(**columns)


def sum_columns(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Sum of each column: integers, so the packing cannot matter."""
    return tuple(sum(column) for column in zip(*rows, strict=True))


def _column_types(kind: type) -> list[tuple[str, str]]:
    special = {"side": "i1", **dict.fromkeys(FLOAT_METERS, "<f8")}
    return [(field.name, special.get(field.name, "<i8")) for field in fields(kind)]


_TABLES: dict[int, type] = {2: Orders, 3: Meters, 4: Response, 5: ReserveOffers}
_TABLE_COLUMNS = {code: _column_types(kind) for code, kind in _TABLES.items()}


def _encode_arrays(value: Any) -> msgspec.msgpack.Ext:
    """An array as dtype, shape and bytes; a table of aligned columns as length and bytes."""
    if isinstance(value, np.ndarray):
        head = value.dtype.str.encode() + bytes([value.ndim])
        shape = np.array(value.shape, dtype="<i8").tobytes()
        return msgspec.msgpack.Ext(_ARRAY, head + shape + np.ascontiguousarray(value).tobytes())
    for code, kind in _TABLES.items():
        if isinstance(value, kind):
            columns = [getattr(value, name) for name, _ in _TABLE_COLUMNS[code]]
            parts = [len(columns[0]).to_bytes(8, "little"), *(c.tobytes() for c in columns)]
            return msgspec.msgpack.Ext(code, b"".join(parts))
    raise TypeError(f"cannot send a {type(value).__name__}")


def _decode_arrays(code: int, data: memoryview) -> Any:
    if code == _ARRAY:
        dtype, dimensions = bytes(data[:3]).decode(), data[3]
        if dtype not in _ARRAY_TYPES:
            raise ValueError(f"arrays of type {dtype!r} are not sent")
        shape = np.frombuffer(data, "<i8", dimensions, 4)
        return np.frombuffer(data, dtype, offset=4 + 8 * dimensions).reshape(shape)
    rows, at, columns = int.from_bytes(data[:8], "little"), 8, {}
    for name, kind in _TABLE_COLUMNS[code]:
        columns[name] = np.frombuffer(data, kind, rows, at)
        at += columns[name].nbytes
    return _TABLES[code](**columns)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_arrays)


def encode(message: msgspec.Struct) -> bytes:
    """The bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes | memoryview, kind: type[Message]) -> Message:
    """The message of type `kind` in `data`; its arrays are read-only views of `data`.

    Raises:
        msgspec.DecodeError: where `data` is not such a message.
    """
    try:
        message: Message = _decoder(kind).decode(data)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        if isinstance(error, msgspec.DecodeError):
            raise
        raise msgspec.DecodeError(f"damaged array: {error}") from error
    return message


_decoders: dict[type, Any] = {}


def _decoder(kind: type) -> Any:
    if kind not in _decoders:
        _decoders[kind] = msgspec.msgpack.Decoder(
            kind, ext_hook=_decode_arrays, dec_hook=lambda _, value: value
        )
    return _decoders[kind]
