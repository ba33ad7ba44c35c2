"""Counter-based randomness: a draw is a function of (seed, stream, tick, agent index) alone.

One Philox key per (seed, stream); its 256-bit counter is positioned by tick and agent, so any
split of the agents over processes reads the same numbers (Salmon et al., Parallel random numbers:
as easy as 1, 2, 3, SC 2011). Each agent owns one counter block of four uniforms per tick. Inverse
transforms only: a rejection method would consume a varying number.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

UNIFORMS = 4
"""Uniforms per agent, stream and tick: the words of one Philox block."""


def uniforms(seed: int, stream: str, tick: int, first: int, count: int) -> NDArray[np.float64]:
    """Uniforms in [0, 1), shape (count, UNIFORMS), of agents `first` to `first + count - 1`.

    Args:
        seed: the run's seed.
        stream: name of the stream; other names are independent.
        tick: zero or more.
        first: absolute index of the first agent.
        count: number of agents.
    """
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    key = np.frombuffer(digest, dtype="<u8", count=2)
    counter = np.array([first, tick, 0, 0], dtype=np.uint64)
    words = np.random.Philox(counter=counter, key=key).random_raw(count * UNIFORMS)
    drawn: NDArray[np.float64] = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn.reshape(count, UNIFORMS)
