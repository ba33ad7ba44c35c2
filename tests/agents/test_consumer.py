"""Consumers: shifted energy is conserved to the watt and caught up inside its window."""

from __future__ import annotations

from collections import deque
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .helpers import CAP, Bench, signal

ALL = [1.0, 80.0, 1.0, 10.0]
shares = st.floats(0, 1)


@st.composite
def consumers(draw: st.DrawFn) -> dict[str, Any]:
    load = draw(st.sampled_from([0.0, 0.004, 3.3, 50.0]))
    return {
        "load_mw": load,
        "flexible_mw": load * draw(st.sampled_from([0.0, 0.1, 0.3, 1.0])),
        "response_price_per_mwh": draw(st.sampled_from([None, 0.0, 120.0])),
        "comfort_preference": draw(st.floats(0, 100)),
        "shift_window_hours": draw(st.sampled_from([0.01, 0.1, 0.25, 1.0, 1.7, 4.0])),
    }


class Ledger:
    """Reductions in the order they were made; a catch-up pays back the oldest first."""

    def __init__(self) -> None:
        self.owed: deque[list[int]] = deque()

    @property
    def total(self) -> int:
        return sum(watts for _, watts in self.owed)

    def book(self, tick: int, reduced: int, caught_up: int) -> int:
        """Returns the longest delay of what was paid back, in ticks."""
        if reduced:
            self.owed.append([tick, reduced])
        longest = 0
        while caught_up:
            oldest = self.owed[0]
            paid = min(oldest[1], caught_up)
            longest = max(longest, tick - oldest[0])
            oldest[1] -= paid
            caught_up -= paid
            if not oldest[1]:
                self.owed.popleft()
        return longest


@settings(max_examples=150)
@given(
    asset=consumers(),
    minutes=st.sampled_from([5, 7, 15, 60]),
    moves=st.lists(
        st.tuples(st.tuples(shares, shares, shares, shares), shares, st.floats(0, 1.5)),
        min_size=1,
        max_size=40,
    ),
    ticks=st.integers(1, 80),
)
def test_energy_is_shifted_not_lost_and_comes_back_in_time(
    asset: dict[str, Any],
    minutes: int,
    moves: list[tuple[tuple[float, ...], float, float]],
    ticks: int,
) -> None:
    bench, ledger = Bench("consumer", [asset], tick_minutes=minutes), Ledger()
    flexible = floor(asset["flexible_mw"] * 1e6 + 1e-6)
    window_ticks = max(1, floor(asset["shift_window_hours"] * 60 / minutes + 1e-9))
    shifted = consumed = wanted = 0
    for tick in range(ticks):
        action, served, level = moves[tick % len(moves)]
        view = bench.view({"load": level})
        price, quantity = bench.offer([action[0], 100 * action[1], action[2], 50], view)
        load = floor(asset["load_mw"] * level * 1e6 + 1e-6)
        assert quantity[0, 0] == load
        assert price[0, 0] == CAP
        assert 0 <= quantity[0, 2] <= min(flexible, load)
        assert 0 <= quantity[0, 1] <= min(flexible, ledger.total)
        # Everything at the cap is served, the rest as luck has it.
        at_cap = price[0] >= CAP
        accepted = np.where(at_cap, quantity, np.floor(quantity * served)).astype(np.int64)
        m = bench.deliver(accepted, {"load": level})

        reduced, caught_up = int(accepted[0, 2]), int(accepted[0, 1])
        assert m.shifted_w[0] == reduced - caught_up
        assert m.load_w[0] == load - reduced + caught_up >= 0
        assert m.unserved_w[0] == 0
        assert ledger.book(tick, reduced, caught_up) <= window_ticks
        assert m.backlog_mwh[0] * 60e6 / minutes == pytest.approx(ledger.total, abs=1e-3)
        shifted += int(m.shifted_w[0])
        consumed += int(m.load_w[0])
        wanted += load
        asked = asset["response_price_per_mwh"]
        asked = asset["comfort_preference"] if asked is None else asked
        assert abs(m.cost_micro[0] - reduced * asked * minutes / 60) <= 0.51
    assert shifted == ledger.total == wanted - consumed
    for _ in range(window_ticks):
        _, quantity = bench.offer([0, 0, 0, 0])
        bench.deliver(quantity)
    assert bench.s.backlog_w[0] == 0


@settings(max_examples=100)
@given(
    asset=consumers(),
    forecast=st.floats(0, 2),
    actual=st.floats(0, 2),
    bought=shares,
    sold=shares,
    noise=st.floats(0, 0.5),
    u=st.floats(0, 1, exclude_max=True),
    failed=st.booleans(),
)
def test_rationing_counts_as_unserved_and_nobody_reduces_more_than_it_uses(
    asset: dict[str, Any],
    forecast: float,
    actual: float,
    bought: float,
    sold: float,
    noise: float,
    u: float,
    failed: bool,
) -> None:
    bench = Bench("consumer", [{**asset, "load_noise": noise}])
    _, quantity = bench.offer(ALL, bench.view({"load": forecast}))
    accepted = np.floor(quantity * [bought, 0, sold]).astype(np.int64)
    m = bench.deliver(accepted, {"load": actual}, failed=failed, uniforms=u)
    wanted = asset["load_mw"] * actual * max(0.0, 1 + noise * 12**0.5 * (u - 0.5)) * 1e6
    rationed = accepted[0, 0] < quantity[0, 0]
    served = min(wanted, accepted[0, 0]) if rationed else wanted
    reduced = 0 if failed else min(accepted[0, 2], served)
    assert m.load_w[0] == pytest.approx(served - reduced, abs=1.01)
    assert m.unserved_w[0] == pytest.approx(wanted - served, abs=1.01)
    assert m.load_w[0] + m.shifted_w[0] + m.unserved_w[0] == pytest.approx(wanted, abs=1.01)


def test_noise_has_the_declared_spread() -> None:
    n = 20_000
    bench = Bench("consumer", [{"load_mw": 10, "flexible_mw": 1, "load_noise": 0.1}] * n)
    bench.offer([0, 0, 0, 0])
    u = np.random.default_rng(0).random((n, 4))
    load = bench.deliver(bench.quantity, uniforms=u).load_w / 1e6
    assert load.mean() == pytest.approx(10, abs=0.03)
    assert load.std() == pytest.approx(1.0, rel=0.02)


def test_catch_up_waits_for_a_low_price_and_then_for_none() -> None:
    asset = {"load_mw": 10, "flexible_mw": 2, "shift_window_hours": 1}
    bench = Bench("consumer", [asset], tick_minutes=15)
    bench.offer(ALL)
    bench.deliver([10_000_000, 0, 2_000_000])
    catch_up_prices = []
    for _ in range(4):
        price, quantity = bench.offer([0, 80, 1, 10])
        assert quantity[0, 1] == 2_000_000
        catch_up_prices.append(price[0, 1])
        accepted = quantity.copy()
        if price[0, 1] < CAP:
            accepted[0, 1] = 0
        m = bench.deliver(accepted)
        if price[0, 1] == CAP:
            break
    assert catch_up_prices == [10, CAP]
    assert m.shifted_w[0] == -2_000_000


def test_while_a_catch_up_is_due_nothing_more_is_put_off() -> None:
    asset = {"load_mw": 10, "flexible_mw": 2, "shift_window_hours": 0.5}
    bench = Bench("consumer", [asset], tick_minutes=15)
    bench.offer(ALL)
    bench.deliver([10_000_000, 0, 2_000_000])
    _, quantity = bench.offer(ALL)
    assert quantity[0].tolist() == [10_000_000, 2_000_000, 0]


def test_maintenance_offers_no_response_and_an_outage_delivers_none() -> None:
    bench = Bench("consumer", [{}, {}])
    _, quantity = bench.offer(ALL, bench.view(standing=[True, False]))
    assert quantity[:, 2].tolist() == [0, 15_000_000]
    m = bench.deliver(quantity, failed=[False, True])
    assert m.load_w.tolist() == [50_000_000, 50_000_000]


def test_the_heuristic_asks_the_comfort_price_and_catches_up_below_the_median() -> None:
    bench = Bench("consumer", [{"comfort_preference": 70}, {"response_price_per_mwh": 20}])
    prices = signal(price_forecast=np.arange(24.0) + 30, price_history=np.full(24, np.nan))
    view = bench.view(price_forecast=prices.price_forecast, price_history=prices.price_history)
    action = bench.kind.heuristic(bench.p, bench.s, view)
    assert action.tolist() == [[1, 70, 1, 41.5], [1, 20, 1, 20]]
