"""Draws are a function of seed, stream, tick and agent alone, and are numpy's own Philox."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.rng import UNIFORMS, uniforms

COUNT = 40


@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**63),
    tick=st.integers(0, 2**40),
    first=st.integers(0, 2**40),
    cuts=st.lists(st.integers(0, COUNT), max_size=6),
)
def test_any_split_of_the_agents_reads_the_same_numbers(
    seed: int, tick: int, first: int, cuts: list[int]
) -> None:
    whole = uniforms(seed, "nature", tick, first, COUNT)
    edges = [0, *sorted(cuts), COUNT]
    parts = [uniforms(seed, "nature", tick, first + a, b - a) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("tick", "agent"), [(0, 0), (0, 5), (1, 0), (287, 99_999), (2**33, 7)])
def test_is_numpys_philox_positioned_by_tick_and_agent(tick: int, agent: int) -> None:
    digest = hashlib.sha256(b"42/policy").digest()
    key = int.from_bytes(digest[:16], "little")
    # One unit of `advance` is one block of four words; the tick is the counter's second word.
    bits = np.random.Philox(key=key).advance(agent + (tick << 64))
    expected = np.random.Generator(bits).random(UNIFORMS)
    np.testing.assert_array_equal(uniforms(42, "policy", tick, agent, 1)[0], expected)


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 as published (Salmon et al., SC 2011), one block, in plain integers."""
    word = 2**64 - 1
    c, k = counter, key
    for _ in range(10):
        low = 0xD2E7470EE14C6C93 * c[0]
        high = 0xCA5A826395121157 * c[2]
        c = [high >> 64 ^ c[1] ^ k[0], high & word, low >> 64 ^ c[3] ^ k[1], low & word]
        k = [(k[0] + 0x9E3779B97F4A7C15) & word, (k[1] + 0xBB67AE8584CAA73B) & word]
    return c


def test_is_the_published_generator() -> None:
    # Known answer of the Random123 distribution (kat_vectors, philox4x64, 10 rounds).
    assert philox4x64([0] * 4, [0] * 2) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]
    digest = hashlib.sha256(b"7/nature").digest()
    key = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")]
    # numpy counts on before it draws: agent i reads block i + 1.
    words = philox4x64([11 + 1, 3, 0, 0], key)
    assert uniforms(7, "nature", 3, 11, 1)[0].tolist() == [(w >> 11) / 2**53 for w in words]


def test_another_seed_stream_tick_or_agent_shares_no_number() -> None:
    sets = [
        uniforms(seed, stream, tick, first, 200).ravel()
        for seed in (1, 2)
        for stream in ("policy", "nature")
        for tick in (0, 1)
        for first in (0, 200)
    ]
    values = np.concatenate(sets)
    assert len(np.unique(values)) == len(values)


def test_neighbouring_streams_are_uncorrelated() -> None:
    n = 20_000
    base = uniforms(1, "policy", 5, 0, n)
    others = [
        uniforms(2, "policy", 5, 0, n),
        uniforms(1, "nature", 5, 0, n),
        uniforms(1, "policy", 6, 0, n),
        uniforms(1, "policy", 5, 1, n),
    ]
    for other in others:
        for word in range(UNIFORMS):
            correlation = np.corrcoef(base[:, word], other[:, word])[0, 1]
            assert abs(correlation) < 5 / np.sqrt(n)


def test_is_uniform_in_the_half_open_unit_interval() -> None:
    from scipy.stats import kstest

    drawn = uniforms(3, "nature", 9, 0, 50_000)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    for word in range(UNIFORMS):
        assert kstest(drawn[:, word], "uniform").pvalue > 1e-3


def test_no_agents_draw_nothing() -> None:
    assert uniforms(1, "policy", 0, 0, 0).shape == (0, UNIFORMS)
