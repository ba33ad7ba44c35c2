"""What the operator remembers and expects: its view, field by field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.grid.balance import Balance
from swarm.grid.forecast import ForecastSpec, PriceForecast
from swarm.grid.observation import KINDS, OperatorView
from swarm.grid.outlook import Outlook
from swarm.market.record import Cleared
from swarm.messages import Meters, Signal
from tests.agents.helpers import signal
from tests.grid.grids import MW, metered

HOURS = 30


def outlook(seed: int = 3, tick_minutes: int = 30) -> Outlook:
    forecast = PriceForecast(
        ForecastSpec(
            tick_minutes=tick_minutes,
            demand_mw=100.0 + np.arange(HOURS),
            free_supply_mw=2.0 * np.arange(HOURS),
            step_mw=np.array([200.0]),
            step_cost_per_mwh=np.array([50.0]),
            step_emissions_kg_per_mwh=np.zeros(1),
            price_floor=-500.0,
            import_limit_mw=0.0,
            export_limit_mw=0.0,
            outside_price_per_mwh=np.zeros(1),
            outside_price_known=True,
            outside_price_before_per_mwh=50.0,
            import_premium_per_mwh=0.0,
            export_discount_per_mwh=0.0,
            spikes=(),
        )
    )
    return Outlook(
        seed=seed,
        tick_minutes=tick_minutes,
        start_hour=22.5,
        nominal_hz=50.0,
        forecast=forecast,
        sizes_w=(5e6, 9e6),
        kind=np.array(["generator", "generator", "storage"]),
    )


def balance(tick: int, **given: Any) -> Balance:
    zeros = dict.fromkeys(Balance.__struct_fields__[1:13], 0)
    values: dict[str, Any] = {"frequency_end_hz": 50.0 + tick / 100, **zeros, **given}
    return Balance(tick=tick, **values)


def meters(**given: list[float]) -> Meters:
    return metered(**{"generation_w": [30, 70, 0], **given})


def view(
    of: Outlook,
    tick: int = 0,
    last: Cleared | None = None,
    now: Balance | None = None,
    metered_: Meters | None = None,
    told: Signal | None = None,
) -> OperatorView:
    pending, preference = (6, 6, 8, 8), (0.5, 0.3, 0.2)
    return of.view(tick, told or signal(), last, now, metered_, 40, pending, preference)


def test_before_the_first_interval_nothing_is_known() -> None:
    v = view(outlook())
    for name in ("end_hz", "minimum_hz", "imbalance_w", "secondary_share", "unserved_w"):
        assert np.isnan(getattr(v, name)).all(), name
    for name in ("largest_unit_w", "inertia_kws", "flow_w", "price_per_mwh"):
        assert np.isnan(getattr(v, name)), name
    assert v.reserve_asked_w.tolist() == [0, 0, 0, 0]
    assert np.isnan(v.reserve_price_per_mw_h).all()
    assert np.isnan(v.by_kind).all()
    assert v.import_limit_w == 40
    assert v.reserve_pending_w.tolist() == [6, 6, 8, 8]
    assert v.preference.tolist() == [0.5, 0.3, 0.2]
    assert (v.containment_size_w, v.restoration_size_w) == (5e6, 9e6)


def test_histories_run_from_the_newest_back_and_forget() -> None:
    of = outlook()
    for tick in range(14):
        of.remember(balance(tick, imbalance_w=tick * 10, unserved_w=tick), meters())
    v = view(of)
    assert v.end_hz == pytest.approx([50 + tick / 100 for tick in range(13, 1, -1)])
    assert v.imbalance_w.tolist() == [10 * tick for tick in range(13, 1, -1)]
    assert v.unserved_w.tolist() == list(range(13, 1, -1))


def test_secondary_control_counts_against_the_reserve_of_its_direction() -> None:
    of = outlook()
    held = {"restoration_up_w": [0, 4, 4], "restoration_down_w": [0, 0, 2]}
    of.remember(balance(0, secondary_w=2 * MW), meters(**held))
    of.remember(balance(1, secondary_w=-MW), meters(**held))
    of.remember(balance(2, secondary_w=MW), meters())
    assert view(of).secondary_share[:3].tolist() == pytest.approx([np.nan, -0.5, 0.25], nan_ok=True)


def test_expectations_are_of_the_hour_that_is_decided_for() -> None:
    v = view(outlook(), tick=5)
    # Half-hours from 22:30: tick 5 starts at 1:00, in the third hour of the run.
    assert v.hour_of_day == 1.0
    assert (v.expected_load_w / MW).tolist() == [102 + hour for hour in range(4)]
    assert (v.expected_weather_w / MW).tolist() == [4 + 2 * hour for hour in range(4)]
    assert v.peak_load_w == (100 + HOURS - 1) * MW
    # Beyond the last known hour the forecast goes on somehow, but with four numbers.
    assert len(view(outlook(), tick=2 * HOURS - 2).expected_load_w) == 4


def test_the_last_interval_and_clearing_are_told() -> None:
    last = Cleared(
        tick=3,
        price_milli=61_500,
        volume_w=1,
        reserve_asked_w=(5, 5, 9, 9),
        reserve_bought_w=(5, 4, 9, 0),
        reserve_price_milli=(2_500, 0, 40_000, None),
    )
    now = balance(3, load_w=80, import_w=7, export_w=0, inertia_kws=600)
    told = signal(emergency=True, frequency_hz=49.9)
    given = meters(up_w=[8, 8, 3], down_w=[9, 9, 4])
    v = view(outlook(), tick=4, last=last, now=now, metered_=given, told=told)
    assert v.price_per_mwh == 61.5
    assert v.reserve_asked_w.tolist() == [5, 5, 9, 9]
    assert v.reserve_bought_w.tolist() == [5, 4, 9, 0]
    assert v.reserve_price_per_mw_h == pytest.approx([2.5, 0, 40, np.nan], nan_ok=True)
    assert v.tick == 4
    assert (v.flow_w, v.inertia_kws) == (7, 600)
    assert v.largest_unit_w == 70 * MW
    headroom_mw = v.by_kind[:, 4:6] / MW
    assert headroom_mw[KINDS.index("generator")].tolist() == [16, 18]
    assert headroom_mw[KINDS.index("storage")].tolist() == [3, 4]
    assert v.emergency


def test_randomness_is_of_seed_and_tick_alone() -> None:
    drawn = view(outlook(), tick=4).uniforms
    assert drawn.tolist() == view(outlook(), tick=4, now=balance(3)).uniforms.tolist()
    assert drawn.tolist() != view(outlook(), tick=5).uniforms.tolist()
    assert drawn.tolist() != view(outlook(seed=4), tick=4).uniforms.tolist()
    assert ((drawn >= 0) & (drawn < 1)).all()
