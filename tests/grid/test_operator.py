"""The operator: balances that add up, and signals that say what is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.grid.balance import Operated
from swarm.grid.forecast import ForecastSpec, PriceForecast
from swarm.grid.operator import Operator, OperatorSpec
from swarm.market.outside import Connection
from swarm.market.record import Cleared
from swarm.messages import NO_RESERVE, Drawn, Meters, Orders, StepReply, no_meters
from swarm.scenario.load import load_scenario

TICKS = 400


def forecaster(tick_minutes: int = 60) -> PriceForecast:
    hours = -(-TICKS * tick_minutes // 60)
    return PriceForecast(
        ForecastSpec(
            tick_minutes=tick_minutes,
            demand_mw=np.full(hours, 10.0),
            free_supply_mw=np.zeros(hours),
            step_mw=np.array([20.0, 20.0]),
            step_cost_per_mwh=np.array([30.0, 70.0]),
            step_emissions_kg_per_mwh=np.zeros(2),
            price_floor=-500.0,
            import_limit_mw=0.0,
            export_limit_mw=0.0,
            outside_price_per_mwh=np.zeros(1),
            outside_price_known=True,
            outside_price_before_per_mwh=77.0,
            import_premium_per_mwh=0.0,
            export_discount_per_mwh=0.0,
            spikes=(),
        )
    )


def operator(imports: int = 0, exports: int = 0, tick_minutes: int = 60) -> Operator:
    return Operator(
        OperatorSpec(
            seed=1,
            ticks=TICKS,
            tick_minutes=tick_minutes,
            price_floor=-500.0,
            price_cap=np.where(np.arange(TICKS) < 5, 3000.0, 1000.0),
            carbon_price_per_tonne=np.where(np.arange(TICKS) < 5, 0.0, 25.0),
            outside=Connection(imports, exports, np.zeros(TICKS), 0.0, 0.0, 0),
            forecast=forecaster(tick_minutes),
            condenser_inertia_kws=900,
            start_hour=0.0,
        )
    )


def cleared(tick: int, price: float) -> Cleared:
    """A clearing at `price` per MWh, NaN: without trade."""
    return Cleared(tick, None if np.isnan(price) else round(price * 1000), 0)


def operate(op: Operator, tick: int, price: float, replies: Sequence[StepReply]) -> Operated:
    """What the operator says after a tick that cleared at `price`."""
    operated, drawn = op.operate(tick, None if tick <= 0 else cleared(tick - 1, price), replies)
    balance = operated.balance
    flow = 0 if balance is None else balance.import_w - balance.export_w
    assert drawn == Drawn(tick, NO_RESERVE, True, flow, 0, None), "without physics"
    return operated


def reply(tick: int = 1, **columns: Any) -> StepReply:
    given_columns = {name: np.atleast_1d(np.asarray(v)) for name, v in columns.items()}
    n = len(next(iter(given_columns.values()), np.zeros(1)))
    none = np.zeros(0, dtype=np.int64)
    orders = Orders(none.astype(np.int8), none, none, none)
    return StepReply(tick, orders, Meters(**{**no_meters(n), **given_columns}))


watts = st.integers(0, 10**9)
agents = st.lists(st.tuples(watts, watts, st.integers(-(10**9), 10**9)), min_size=1, max_size=9)


@settings(max_examples=100)
@given(rows=agents, imports=watts, exports=watts, split=st.integers(0, 9))
def test_every_interval_balances_for_any_split_over_hosts(
    rows: list[tuple[int, int, int]], imports: int, exports: int, split: int
) -> None:
    made, used, battery = np.array(rows, dtype=np.int64).T
    columns = {
        "generation_w": made,
        "load_w": used,
        "battery_w": battery,
        "delivered_w": made - used + battery,
    }
    whole = operate(operator(imports, exports), 1, 50.0, [reply(**columns)]).balance
    parts = [
        reply(**{name: values[part] for name, values in columns.items()})
        for part in (slice(0, split), slice(split, None))
    ]
    assert operate(operator(imports, exports), 1, 50.0, parts).balance == whole
    b = whole
    assert b is not None
    assert b.tick == 0
    assert b.generation_w + b.discharge_w + b.import_w + b.shed_w == (
        b.load_w + b.charge_w + b.export_w + b.spilled_w
    )
    net = sum(m - u + s for m, u, s in rows)
    assert b.import_w == max(0, min(imports, -net))
    assert b.export_w == max(0, min(exports, net))
    assert b.shed_w == max(0, -net - imports)
    assert b.spilled_w == max(0, net - exports)
    assert b.discharge_w == sum(max(s, 0) for _, _, s in rows)
    assert b.charge_w == sum(max(-s, 0) for _, _, s in rows)


def test_unserved_curtailed_and_inertia_are_summed() -> None:
    meters = reply(
        load_w=[100, 50],
        delivered_w=[-100, -50],
        unserved_w=[7, 0],
        curtailed_w=[3, 4],
        inertia_kws=[10, 20],
    )
    b = operate(operator(imports=40), 1, 50.0, [meters]).balance
    assert b is not None
    assert (b.import_w, b.shed_w, b.unserved_w) == (40, 110, 117)
    assert (b.curtailed_w, b.inertia_kws) == (7, 930)


def test_there_is_no_balance_before_the_first_tick_nor_after_the_last() -> None:
    op = operator()
    assert operate(op, -1, np.nan, ()).balance is None
    assert operate(op, 0, np.nan, [StepReply(0, reply().orders, None)]).balance is None
    last = operate(op, TICKS, 50.0, [reply()]).balance
    assert last is not None
    assert last.tick == TICKS - 1
    assert operate(op, TICKS + 1, 50.0, [reply()]).balance is None


def test_the_signal_carries_the_rules_of_its_own_tick() -> None:
    op = operator()
    first = operate(op, -1, np.nan, ()).signal
    assert (first.tick, first.price_cap, first.carbon_price_per_tonne) == (0, 3000.0, 0.0)
    assert first.accepting
    assert first.price_forecast.tolist() == [30.0] * 24
    assert np.isnan(first.price_history).all()
    assert operate(op, 3, 50.0, [reply()]).signal.price_cap == 3000.0
    changed = operate(op, 4, 50.0, [reply()]).signal
    assert (changed.tick, changed.price_cap, changed.carbon_price_per_tonne) == (5, 1000.0, 25.0)
    assert operate(op, TICKS - 2, 50.0, [reply()]).signal.accepting
    assert not operate(op, TICKS - 1, 50.0, [reply()]).signal.accepting
    assert not operate(op, TICKS, 50.0, [reply()]).signal.accepting


@pytest.mark.parametrize("tick_minutes", [5, 15, 60])
def test_history_is_the_mean_of_each_past_hour(tick_minutes: int) -> None:
    op = operator(tick_minutes=tick_minutes)
    per_hour = 60 // tick_minutes
    r = np.random.default_rng(0)
    drawn = r.normal(50, 20, 30 * per_hour).round(3)
    given_prices = np.where(r.random(30 * per_hour) < 0.2, np.nan, drawn)
    for tick, price in enumerate(given_prices[: TICKS - 1], 1):
        history = operate(op, tick, float(price), [reply()]).signal.price_history
        past = given_prices[:tick][::-1]
        for hour in range(24):
            known = past[hour * per_hour : (hour + 1) * per_hour]
            known = known[np.isfinite(known)]
            if len(known):
                assert history[hour] == pytest.approx(known.mean())
            else:
                assert np.isnan(history[hour])


def test_a_tick_of_many_hours_counts_for_each_of_them() -> None:
    op = operator(tick_minutes=180)
    for tick, price in enumerate((10.0, 20.0), 1):
        history = operate(op, tick, price, [reply()]).signal.price_history
    assert history[:6].tolist() == [20.0] * 3 + [10.0] * 3
    assert np.isnan(history[6:]).all()


def test_a_shortage_of_the_last_hour_raises_the_forecast_and_is_forgotten_after_it() -> None:
    op = operator(tick_minutes=30)
    short = reply(unserved_w=[25_000_000])
    assert operate(op, 1, 50.0, [short]).signal.price_forecast[0] == 70.0
    assert operate(op, 2, 50.0, [reply()]).signal.price_forecast[0] == 70.0
    assert operate(op, 3, 50.0, [reply()]).signal.price_forecast[0] == 30.0


def test_weights_of_the_operator_must_be_one_whole() -> None:
    def weighed(**given: float) -> tuple[float, ...]:
        sets = [f"grid.operator_weights.{name}={value}" for name, value in given.items()]
        grid = load_scenario("emergency", sets=sets).scenario.grid
        assert grid is not None
        return grid.operator_weights.in_order

    assert weighed() == (0.6, 0.3, 0.1)
    assert weighed(stability=0.25, cost=0.25, emissions=0.5) == (0.25, 0.25, 0.5)
    with pytest.raises(UsageError, match=r"operator_weights: .*sum to 1\.2; expected 1"):
        weighed(cost=0.5)
    with pytest.raises(UsageError, match=r"operator_weights\.stability"):
        weighed(stability=-0.1, cost=1.0)
