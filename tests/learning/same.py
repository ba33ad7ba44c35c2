"""Comparing the states of learners."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[Any]]


def assert_stacked(whole: State, single: list[State], tolerance: float = 1e-6) -> None:
    """The state of the whole is that of the single ones, one on another, counters apart."""
    assert whole.keys() == single[0].keys()
    stacked = 0
    for name, array in whole.items():
        if array.size == 1:
            assert all((state[name] == array).all() for state in single), name
        else:
            joined = np.concatenate([state[name] for state in single])
            np.testing.assert_allclose(array, joined, rtol=0, atol=tolerance, err_msg=name)
            stacked += 1
    assert stacked > 10


def assert_identical(one: State, other: State) -> None:
    """Both hold the same bytes."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype, name
        assert array.tobytes() == other[name].tobytes(), name
