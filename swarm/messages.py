"""What travels between market, operator and agents: typed batches, one per host and tick.

Inside one process the structs travel as they are; between processes as msgpack bytes in which an
array is dtype, shape and its raw bytes, read back without a copy.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]
FORECAST_HOURS = 24
_ARRAY = 1
Message = TypeVar("Message")


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


class Notice(msgspec.Struct, array_like=True, frozen=True):
    """What the market tells one host: its awards of the last tick, its settlement of the one before."""

    tick: int
    """Tick of the awards; the settlement is of `tick - 1`."""
    accepted_w: np.ndarray
    """int64 (orders sent,), in the order in which the host sent them."""
    received_micro: np.ndarray
    """int64 (agents of the host,): micro-currency received, negative where paid; empty at first."""


class Orders(msgspec.Struct, array_like=True, frozen=True):
    """The offers of one host for one tick, aligned arrays on the market's grid."""

    side: np.ndarray
    price: np.ndarray
    quantity: np.ndarray
    agent: np.ndarray


class Meters(msgspec.Struct, array_like=True, frozen=True):
    """What the devices did in one interval, one row per agent.

    For every kind `delivered_w == generation_w - load_w + battery_w`. Power is the mean over the
    interval in whole watts, so energy is exact.
    """

    delivered_w: np.ndarray
    """Net injection at the meter; consumption is negative."""
    generation_w: np.ndarray
    load_w: np.ndarray
    """Consumption that took place, shifts included, battery charging not."""
    battery_w: np.ndarray
    """Battery at the meter: discharge positive, charge negative."""
    available_w: np.ndarray
    """What the plant could have generated (capacity or weather)."""
    unserved_w: np.ndarray
    """Load that wanted power and got no contract for it."""
    curtailed_w: np.ndarray
    """Weather-driven power not used."""
    shifted_w: np.ndarray
    """Flexible load put off (positive) or caught up (negative)."""
    cost_micro: np.ndarray
    """True cost: fuel, CO2, starts, wear, discomfort; micro-currency."""
    emissions_g: np.ndarray
    marginal_cost_milli: np.ndarray
    """True marginal cost of a running generator at its output, milli-currency per MWh; else 0."""
    inertia_kws: np.ndarray
    """Kinetic energy of running machines, kW s."""
    stored_mwh: np.ndarray
    """float64: energy in the battery at the end of the interval."""
    backlog_mwh: np.ndarray
    """float64: load put off and not yet caught up, at the end of the interval."""
    trip_mwh: np.ndarray
    """float64: energy a vehicle had used when it came back, in the interval of its return."""
    missed_mwh: np.ndarray
    """float64: energy a vehicle lacked when it left, in the interval of its departure."""


METER_COLUMNS = Meters.__struct_fields__
FLOAT_METERS = ("stored_mwh", "backlog_mwh", "trip_mwh", "missed_mwh")


class StepReply(msgspec.Struct, array_like=True, frozen=True):
    """One host's answer to a step: offers for `tick`, meters of `tick - 1` (None at the first)."""

    tick: int
    orders: Orders
    meters: Meters | None


def no_meters(agents: int) -> dict[str, np.ndarray]:
    """Columns of `Meters` for `agents` devices that did nothing; fill in and pass to `Meters`."""
    return {
        name: np.zeros(agents, dtype=np.float64 if name in FLOAT_METERS else np.int64)
        for name in METER_COLUMNS
    }


def concatenate(parts: list[Meters]) -> Meters:
    """The rows of several batches one after the other."""
    return Meters(*(np.concatenate([getattr(p, name) for p in parts]) for name in METER_COLUMNS))


def _encode_array(value: Any) -> msgspec.msgpack.Ext:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"cannot send a {type(value).__name__}")
    head = value.dtype.str.encode() + bytes([value.ndim])
    shape = np.array(value.shape, dtype="<i8").tobytes()
    return msgspec.msgpack.Ext(_ARRAY, head + shape + np.ascontiguousarray(value).tobytes())


def _decode_array(code: int, data: memoryview) -> np.ndarray:
    if code != _ARRAY:
        raise ValueError(f"unknown extension type {code}")
    dtype, dimensions = np.dtype(bytes(data[:3]).decode()), data[3]
    shape = np.frombuffer(data, "<i8", dimensions, 4)
    return np.frombuffer(data, dtype, offset=4 + 8 * dimensions).reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_array)


def encode(message: msgspec.Struct) -> bytes:
    """The bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes, kind: type[Message]) -> Message:
    """The message of type `kind` in `data`; its arrays are read-only views of `data`.

    Raises:
        msgspec.DecodeError: where `data` is not such a message.
    """
    return _decoder(kind).decode(data)  # type: ignore[no-any-return]


_decoders: dict[type, Any] = {}


def _decoder(kind: type) -> Any:
    if kind not in _decoders:
        _decoders[kind] = msgspec.msgpack.Decoder(
            kind, ext_hook=_decode_array, dec_hook=lambda _, value: value
        )
    return _decoders[kind]
