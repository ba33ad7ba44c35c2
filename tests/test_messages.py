"""What travels comes back equal, whatever its size; what is damaged is refused."""

from __future__ import annotations

from dataclasses import fields

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.grid.balance import Balance, Event, Operated, Trace, Voltages
from swarm.market.record import Cleared, TickRecord
from swarm.messages import (
    FLOAT_METERS,
    METER_COLUMNS,
    ORDER_COLUMNS,
    Acknowledgement,
    Alert,
    Drawn,
    Meters,
    Notice,
    Orders,
    ReserveOffers,
    Response,
    Signal,
    StepReply,
    concatenate,
    decode,
    encode,
    in_global_order,
    no_meters,
)


def orders(n: int, seed: int = 0) -> Orders:
    r = np.random.default_rng(seed)
    side = r.choice(np.array([-1, 1], dtype=np.int8), n)
    return Orders(side, *(r.integers(-(2**62), 2**62, n) for _ in range(3)))


def meters(n: int, seed: int = 0) -> Meters:
    r = np.random.default_rng(seed)
    columns = no_meters(n)
    for name in METER_COLUMNS:
        drawn = r.normal(size=n) if name in FLOAT_METERS else r.integers(-(2**62), 2**62, n)
        columns[name] = drawn
    return Meters(**columns)


def reserve(n: int, seed: int = 0) -> ReserveOffers:
    r = np.random.default_rng(seed)
    return ReserveOffers(*(r.integers(-(2**62), 2**62, n) for _ in fields(ReserveOffers)))


def response(n: int, seed: int = 0) -> Response:
    r = np.random.default_rng(seed)
    return Response(*(r.integers(-(2**62), 2**62, n) for _ in fields(Response)))


def signal() -> Signal:
    forecast = np.linspace(-3, 1e9, 24)
    history = np.where(np.arange(24) % 3 == 0, np.nan, forecast)
    return Signal(7, np.nan, forecast, history, -500.0, 3000.0, 25.5, True)


def balance() -> Balance:
    return Balance(*range(12))


def operated() -> Operated:
    """A disturbed interval, with all there may be."""
    events = (Event(6, 0.0, "sudden", -180e6, 50.0), Event(6, 0.4, "detection", np.nan, 49.8))
    second = np.array([0.0, 0.5, 1.0])
    buses, lines = np.array([1.0, 0.97]), np.array([np.nan])
    volts = Voltages(buses, 1e6 * buses, -buses, lines, lines)
    return Operated(
        balance(), signal(), Alert(8, True), events, Trace(second, 50 - second), volts, 0.07
    )


def record(n: int, kept: bool) -> TickRecord:
    micro = np.arange(n, dtype=np.int64)
    book = orders(2 * n) if kept else None
    return TickRecord(
        3, None, "no_trade", 0, 1.5, 1, 2, 3, None, -4, 5, 6, -7, 8, micro, -micro, meters(n), book,
        micro,
    )  # fmt: skip


MESSAGES = {
    "signal": signal(),
    "notice": Notice(3, np.arange(5), np.zeros(0, dtype=np.int64)),
    "reply": StepReply(4, orders(6), meters(3)),
    "reply of the first tick": StepReply(0, orders(1), None),
    "empty reply": StepReply(9, orders(0), meters(0)),
    "record": record(4, kept=True),
    "record without book": record(0, kept=False),
    "cleared": Cleared(1, None, 0),
    "operated": Operated(balance(), signal()),
    "operated disturbed": operated(),
    "notice with response": Notice(3, np.arange(5), np.arange(2), np.arange(4), response(2)),
    "reply with reserve": StepReply(4, orders(6), meters(3), reserve(5)),
    "drawn": Drawn(2, (1, 2, 3, 4), False, -(2**60), 5, response(3)),
    "drawn nothing": Drawn(2, (0, 0, 0, 0), True, 0, 0, None),
    "alert": Alert(9, False),
    "acknowledgement": Acknowledgement(9, 400),
    "operated without balance": Operated(None, signal()),
}


def same(a: object, b: object) -> None:
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype  # type: ignore[attr-defined]
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, Orders | Meters | ReserveOffers | Response):
        for field in fields(a):
            same(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, tuple):
        for one, other in zip(a, b, strict=True):  # type: ignore[call-overload]
            same(one, other)
    elif isinstance(a, msgspec.Struct):
        for name in a.__struct_fields__:
            same(getattr(a, name), getattr(b, name))
    else:
        assert a == b or (a != a and b != b)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_comes_back_equal(name: str) -> None:
    message = MESSAGES[name]
    data = encode(message)
    back = decode(data, type(message))
    same(message, back)
    assert encode(back) == data


@settings(max_examples=50)
@given(n=st.integers(0, 200), agents=st.integers(0, 50), seed=st.integers(0, 99))
def test_tables_of_any_length_come_back(n: int, agents: int, seed: int) -> None:
    message = StepReply(seed, orders(n, seed), meters(agents, seed))
    same(message, decode(encode(message), StepReply))


@pytest.mark.parametrize("dtype", ["<i8", "<f8", "|i1", "<i4", "<f4", "|b1"])
@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3), (2, 0, 4)])
def test_arrays_keep_type_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    back = decode(encode(Notice(0, array, array)), Notice).accepted_w
    assert back.shape == shape
    same(array, back)


def test_strided_arrays_travel_by_value() -> None:
    wide = np.arange(12).reshape(3, 4)
    same(wide[:, 1].copy(), decode(encode(Notice(0, wide[:, 1], wide.T)), Notice).accepted_w)
    same(wide.T.copy(), decode(encode(Notice(0, wide[:, 1], wide.T)), Notice).received_micro)
    reply = StepReply(0, Orders(wide[:, 0].astype("i1"), *wide[:, 1:].T), None)
    same(wide[:, 2].copy(), decode(encode(reply), StepReply).orders.quantity)


def test_equal_messages_have_equal_bytes() -> None:
    assert encode(StepReply(1, orders(9), meters(4))) == encode(StepReply(1, orders(9), meters(4)))


def test_what_is_read_is_a_view_that_cannot_be_written() -> None:
    data = encode(StepReply(1, orders(4), meters(2)))
    back = decode(data, StepReply)
    assert back.meters is not None
    for column in (back.orders.price, back.meters.stored_mwh):
        assert not column.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_concatenated_meters_keep_the_order_of_their_rows() -> None:
    joined = concatenate([meters(3, 1), meters(0), meters(2, 2)])
    for name in METER_COLUMNS:
        parts = [getattr(meters(3, 1), name), getattr(meters(2, 2), name)]
        same(np.concatenate(parts), getattr(joined, name))


def test_meters_of_all_hosts_come_in_global_order() -> None:
    whole = meters(5)
    index = [np.array([4, 0]), np.array([2]), np.array([1, 3])]
    parts = [Meters(*(getattr(whole, name)[rows] for name in METER_COLUMNS)) for rows in index]
    same(in_global_order(parts, index), whole)


def test_a_device_that_did_nothing_has_zero_meters() -> None:
    columns = no_meters(3)
    assert tuple(columns) == METER_COLUMNS
    assert all((column == 0).all() and len(column) == 3 for column in columns.values())
    assert {name for name in columns if columns[name].dtype == np.float64} == set(FLOAT_METERS)


def test_order_columns_are_the_documented_ones() -> None:
    assert ORDER_COLUMNS == ("side", "price", "quantity", "agent")


@pytest.mark.parametrize("data", [b"", b"\xc1", b"not a message", b"\x93\x01\x02\x03", b"\x90"])
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(data, StepReply)


def test_another_message_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(encode(signal()), StepReply)
    with pytest.raises(msgspec.DecodeError):
        decode(encode(Notice(0, np.zeros(1), np.zeros(1))), StepReply)


def test_a_truncated_message_is_refused_at_every_length() -> None:
    data = encode(StepReply(1, orders(2), meters(1)))
    for length in range(len(data)):
        with pytest.raises(msgspec.DecodeError):
            decode(data[:length], StepReply)


def test_what_is_no_message_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="cannot send a complex"):
        encode(Cleared(1, None, 1j))  # type: ignore[arg-type]


def test_a_damaged_message_is_a_decode_error_or_a_message() -> None:
    meters = Meters(**no_meters(3))
    whole = encode(StepReply(1, Orders(*(np.zeros(2, dtype=t) for t in "bqqq")), meters))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(whole)
        for place in rng.integers(0, 60, rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        try:
            decode(bytes(damaged), StepReply)
        except msgspec.DecodeError:
            refused += 1
    assert refused > 300
