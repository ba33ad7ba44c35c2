"""Brings series with their own step to the ticks of a run. All times are integer microseconds.

A value stands for its interval. A series finer than a tick is averaged over it. A coarser one is
held, or joined linearly between the middles of its intervals, each tick taking the line's value at
its own middle: nothing moves in time, and before the first middle and after the last the line is
level. (Joining interval starts would shift a day by half an interval.)
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from swarm.errors import UsageError

FloatArray = NDArray[np.float64]
MINUTE_US = 60_000_000


def length(microseconds: int) -> str:
    """A length of time as people write it: `5 minutes`, `4 seconds`."""
    if microseconds % MINUTE_US == 0:
        minutes = microseconds // MINUTE_US
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{microseconds / 1e6:g} seconds"


def check_step(where: str, *, step: int, tick: int, lead: int) -> None:
    """Refuse a series whose intervals and the run's ticks do not fit into each other.

    `step` and `tick` are the lengths of both, `lead` is the time from the start of an interval of
    the series to the start of the first tick. Raises `UsageError`.
    """
    if tick % step and step % tick:
        raise UsageError(
            f"{where}: its step of {length(step)} and the tick of {length(tick)} do not divide one "
            f"another; set tick_minutes so that one is a multiple of the other"
        )
    off = lead % min(step, tick)
    if off:
        raise UsageError(
            f"{where}: its intervals of {length(step)} begin {length(off)} before the ticks of "
            f"{length(tick)}; move 'start' back by {length(off)}"
        )


def to_ticks(
    values: FloatArray,
    *,
    step: int,
    tick: int,
    lead: int,
    ticks: int,
    coarser: Literal["linear", "hold"],
) -> FloatArray:
    """Resample `values` of shape (intervals, columns) to shape (ticks, columns).

    The intervals follow each other without a gap; the first begins `lead` before the first tick.
    They must have passed `check_step` and reach to the end of the last tick.
    """
    if step <= tick:
        per_tick = tick // step
        first = lead // step
        chosen = values[first : first + ticks * per_tick]
        mean: FloatArray = chosen.reshape(ticks, per_tick, values.shape[1]).mean(axis=1)
        return mean
    begins = lead + np.arange(ticks, dtype=np.int64) * tick
    if coarser == "hold":
        held: FloatArray = values[begins // step]
        return held
    # Places are counted in half steps, in integers: a tick's value is the same in any window.
    last = len(values) - 1
    place = np.clip(2 * begins + tick - step, 0, 2 * step * last)
    left = place // (2 * step)
    share = ((place - left * 2 * step) / (2 * step))[:, np.newaxis]
    right = np.minimum(left + 1, last)
    joined: FloatArray = values[left] + share * (values[right] - values[left])
    return joined


def resampling_notes(
    what: str, *, step: int, tick: int, coarser: Literal["linear", "hold"]
) -> list[str]:
    """What `to_ticks` did, in one line; nothing where a step is a tick."""
    if step == tick:
        return []
    if step < tick:
        return [f"{what}: the mean of {tick // step} values was taken for each tick"]
    how = "held" if coarser == "hold" else "joined linearly between the middles of its intervals"
    return [f"{what}: its values of {length(step)} were {how} for ticks of {length(tick)}"]
