"""Steps and ticks that fit, and those that do not."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.world.resample import MINUTE_US, check_step, to_ticks


@pytest.mark.parametrize(
    ("step", "tick", "lead", "said"),
    [
        (5, 7, 0, "step of 5 minutes and the tick of 7 minutes do not divide"),
        (5, 5, 2, "2 minutes before the ticks.*move 'start' back by 2 minutes"),
        (60, 5, 3, "move 'start' back by 3 minutes"),
        (1, 5, 0, None),
        (60, 5, 55, None),
    ],
)
def test_check_step(step: int, tick: int, lead: int, said: str | None) -> None:
    lengths = {"step": step * MINUTE_US, "tick": tick * MINUTE_US, "lead": lead * MINUTE_US}
    if said is None:
        check_step("a file", **lengths)
    else:
        with pytest.raises(UsageError, match=f"a file: .*{said}"):
            check_step("a file", **lengths)


def test_a_line_stays_a_line_and_columns_stay_apart() -> None:
    line = np.arange(5.0)[:, np.newaxis] * [1.0, -2.0]
    made = to_ticks(line, step=60, tick=5, lead=60, ticks=36, coarser="linear")
    # Value 1 is at the middle of the first hour after the lead; a tick is a twelfth of an hour.
    expected = 0.5 + (np.arange(36) + 0.5) / 12
    assert np.allclose(made, expected[:, np.newaxis] * [1.0, -2.0], rtol=1e-14)
