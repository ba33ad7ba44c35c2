"""Many uniforms per agent from the same counter-based stream as `swarm.rng`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swarm.rng import UNIFORMS, uniforms


def wide_uniforms(
    seed: int, stream: str, tick: int, first: int, count: int, width: int
) -> NDArray[np.float64]:
    """Uniforms in [0, 1), shape (count, width), of agents `first` to `first + count - 1`.

    Each agent owns ceil(width / 4) neighbouring Philox blocks, so any split of the agents reads
    the same numbers. A stream must keep to one width: another width moves the agents' blocks.
    """
    blocks = -(-width // UNIFORMS)
    drawn = uniforms(seed, stream, tick, first * blocks, count * blocks)
    return drawn.reshape(count, blocks * UNIFORMS)[:, :width]
