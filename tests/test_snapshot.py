"""Snapshots: what goes in comes out, and nothing else can be read back."""

from __future__ import annotations

import contextlib
import json
from collections import Counter, deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import load, save

from swarm.messages import Alert
from swarm.post import Lane
from swarm.snapshot import TREE, SnapshotError, capture, pack, restore, unpack

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.sampled_from(Lane)
)
ARRAYS = st.sampled_from(("<f8", "<f4", "<i8", "|i1", "|b1", "<u8")).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.lists(inner).map(deque)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple, deque)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(VALUES)
def test_values_come_back_as_they_were(value: Any) -> None:
    data = pack(capture(value))
    back = restore(None, unpack(data))
    assert same(value, back)
    assert pack(capture(back)) == data, "the same state is the same bytes"


def test_special_values_come_back() -> None:
    big = np.array([2**80, -1], dtype=object)
    value = [float("nan"), float("-inf"), np.float64(0.1), {b"b", b"a"}, Counter(a=3), big]
    nan, low, number, names, counted, integers = restore(None, unpack(pack(capture(value))))
    assert np.isnan(nan)
    assert low == float("-inf")
    assert type(number) is np.float64
    assert names == {b"a", b"b"}
    assert type(counted) is Counter
    assert integers.tolist() == [2**80, -1]
    assert restore(None, capture(Alert(3, True))) == Alert(3, True)
    assert restore(None, unpack(pack(capture(np.zeros(2))))).flags.writeable


class Thing:
    STATE = ("number", "part")

    def __init__(self) -> None:
        self.number = 1
        self.part: Any = None
        self.constant = object()


def test_objects_are_restored_in_place() -> None:
    old, new, inner = Thing(), Thing(), Thing()
    old.number, old.part, inner.number = 5, {"a": Thing()}, 7
    old.part["a"].number = 9
    new.part = {"a": inner}
    assert restore(new, capture(old)) is new
    assert new.number == 5
    assert new.part["a"] is inner
    assert inner.number == 9


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SnapshotError, match="cannot be kept"):
        capture(object())
    with pytest.raises(SnapshotError, match="does not fit"):
        restore(Alert(1, True), capture(Thing()))
    with pytest.raises(SnapshotError, match="no object with state of swarm"):
        restore(None, capture(Thing()))
    with pytest.raises(SnapshotError, match="unknown entry"):
        restore(None, {"$pickle": "x"})


@pytest.mark.parametrize(
    "name",
    ["os:system", "subprocess:Popen", "swarm.cli:main", "swarm.snapshot:json", "swarm.no:Thing"],
)
@pytest.mark.parametrize("tag", ["$record", "$enum"])
def test_no_class_but_records_of_swarm_is_made(tag: str, name: str) -> None:
    with pytest.raises(SnapshotError):
        restore(None, {tag: name, "value": "x", "fields": {}})


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_without_a_crash(data: bytes) -> None:
    with pytest.raises(SnapshotError):
        unpack(data)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_another_value(at: int, change: int) -> None:
    data = bytearray(pack(capture({"a": np.arange(5.0), "b": [1, (2, "x")], "c": Alert(1, False)})))
    data[at % len(data)] ^= change
    with contextlib.suppress(SnapshotError):
        restore(None, unpack(bytes(data)))


def test_the_file_is_plain_safetensors() -> None:
    data = pack(capture({"price": np.array([1.0, 2.0])}))
    assert load(data)["0"].tolist() == [1.0, 2.0]
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert "price" in header["__metadata__"][TREE]
    with pytest.raises(SnapshotError, match="not a snapshot"):
        unpack(save({"x": np.zeros(1)}))
