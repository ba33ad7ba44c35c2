"""Every kind keeps the policies of its fleets, whatever it is asked and whatever is drawn.

Devices are run for a day and more on orders and acceptances that care for no limit; what is held
against the limits is what was metered, with books kept here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.agents.gate import DECLARED, Gate, gate_of
from swarm.agents.kinds import KINDS
from swarm.agents.view import Interval, View
from swarm.market.orders import to_milli
from swarm.messages import Meters, Response
from swarm.results.audit_check import verify_run
from swarm.runtime import session
from swarm.scenario.policies import RULES_OF, Policies
from swarm.scenario.schema import Scenario
from swarm.trust.records import Violations
from swarm.trust.rules import MODES, RULES, SumRule, Use
from tests.agents.helpers import CAP, FLOOR, roster, signal
from tests.learning.sets import one_each, saved

TICKS, MINUTES, START = 90, 20, 20.25
N = 24
FLEETS = tuple(f"fleet-{index}" for index in range(N))
EVERY: dict[str, tuple[float, float]] = {
    "max_discharge_mw": (0.0, 4.0),
    "max_charge_mw": (0.0, 4.0),
    "min_state_of_charge": (0.0, 0.6),
    "max_state_of_charge": (0.6, 1.0),
    "max_ramp_up_mw_per_minute": (0.05, 0.5),
    "max_ramp_down_mw_per_minute": (0.05, 0.5),
    "max_cycles_per_day": (0.1, 0.6),
    "max_emissions_tonnes_per_day": (1.0, 9.0),
    "protected_load_share": (0.3, 0.9),
    "min_price_per_mwh": (-60.0, -20.0),
    "max_price_per_mwh": (-20.0, 20.0),
    "min_quantity_mw": (0.0, 0.8),
    "max_quantity_mw": (1.0, 6.0),
}
"""Lowest and highest limit drawn, such that each binds some of the time."""
CELLS = {"energy_mwh": 9, "power_mw": 8, "round_trip_efficiency": 0.7}
ASSETS: dict[str, dict[str, Any]] = {
    "consumer": {"load_mw": 8, "flexible_mw": 8},
    "ev": {**CELLS, "vehicle_to_grid": True, "trip_energy_mwh": 2, "self_discharge_per_hour": 0.01},
    "generator": {"capacity_mw": 9, "emissions_kg_per_mwh": 700},
    "home": {**CELLS, "load_mw": 3, "solar_mw": 8},
    "solar": {"capacity_mw": 9},
    "storage": {**CELLS, "self_discharge_per_hour": 0.01},
    "wind": {"capacity_mw": 9},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
NO_CHOICE = (Use.LOAD, Use.URGENT_CHARGE)


@dataclass(frozen=True)
class Step:
    """One tick of a shard behind its gate; arrays of orders are (n, slots)."""

    tick: int
    day: int
    asked: np.ndarray
    sent: np.ndarray
    price_milli: np.ndarray
    moved: np.ndarray
    load_w: np.ndarray
    stored_mwh: np.ndarray
    """At the end of the interval, before it was known what was drawn."""
    meters: Meters
    found: list[Violations]


def limits_of(kind: str, mode: str, seed: int) -> list[Policies]:
    """Policies of one agent each, some of the rules of their kind; the last has none."""
    r = np.random.default_rng(seed)
    made = [
        {
            name: {"limit": round(float(r.uniform(*EVERY[name])), 3), "on_violation": mode}
            for name in RULES_OF[kind]  # type: ignore[index]
            if r.random() < 0.4
        }
        for _ in range(N - 1)
    ]
    return [Policies.model_validate(one) for one in [*made, {}]]


@functools.cache
def day_of(kind: str, mode: str | None, drawn: bool = False) -> list[Step]:
    return list(run(kind, mode, drawn))


def run(kind: str, mode: str | None, drawn: bool) -> Iterator[Step]:
    """A day and more; `mode` None: without a gate."""
    module: Any = KINDS[kind]
    agents = replace(roster(kind, [ASSETS[kind]] * N), fleets=FLEETS)
    p = module.build(agents)
    s = module.start(p)
    gate = None
    if mode is not None:
        policies = dict(zip(FLEETS, limits_of(kind, mode, 1), strict=True))
        gate = gate_of(module, p, agents, policies, MINUTES)
        assert isinstance(gate, Gate)
    r = np.random.default_rng(3)
    for tick in range(TICKS):
        minute = round(START * 60) + tick * MINUTES
        hour = minute % 1440 / 60
        known = {role: r.random(N) for role in ("load", "availability")}
        view = View(
            signal=signal(tick),
            tick_hours=MINUTES / 60,
            hour_of_day=hour,
            forecast=known,
            standing=np.zeros(N, dtype=bool),
            uniforms=r.random((N, 4)),
        )
        action = np.column_stack(
            [r.uniform(-60, 100, N) if "price" in name else r.random(N) for name in module.ACTION]
        )
        price, asked = module.offer(p, s, view, action)
        milli, found = to_milli(np.clip(price, FLOOR, CAP)), []
        sent = asked
        if gate is not None:
            milli, sent, of_offers = gate.offers(s, tick, hour, milli, asked)
            found += [of_offers] if of_offers else []
        accepted = (sent * r.choice([0.0, 0.5, 1.0, 1.0], (N, 1))).astype(np.int64)
        if drawn and tick:
            power = r.integers(-2_000_000, 2_000_000, N)
            module.respond(p, s, Response(power, power * 0, power * 0), MINUTES / 60, 0.0)
        moved = accepted
        if gate is not None:
            moved, of_dispatch = gate.dispatch(s, tick, hour, accepted)
            found += [of_dispatch] if of_dispatch else []
        meters = module.deliver(
            p,
            s,
            Interval(
                tick=tick,
                tick_hours=MINUTES / 60,
                hour_of_day=hour,
                actual=known,
                accepted_w=moved,
                offered_w=asked,
                failed=np.zeros(N, dtype=bool),
                carbon_price_per_tonne=0.0,
                uniforms=np.full((N, 4), 0.5),
            ),
        )
        load = sent[:, [use is Use.LOAD for use in module.USES]].sum(axis=1)
        stored = meters.stored_mwh
        day = minute // 1440
        yield Step(tick, day, asked, sent, milli, moved, load, stored, meters, found)


def each_limit(kind: str, name: str) -> np.ndarray:
    """The limit of every agent in the unit of its name; infinite where it has none."""
    made = [policies.declared.get(name) for policies in limits_of(kind, "clip", 1)]
    none = -np.inf if name.startswith("min_") else np.inf
    return np.array([none if one is None else one.limit for one in made])


def used(kind: str, orders: np.ndarray, *uses: Use) -> np.ndarray:
    return orders[:, [use in uses for use in KINDS[kind].USES]].sum(axis=1)


@every_kind
def test_slots_have_a_use_of_their_side(kind: str) -> None:
    module = KINDS[kind]
    assert tuple(use.side for use in module.USES) == module.SIDES


@every_kind
def test_the_rules_of_a_kind_are_those_it_has_orders_for(kind: str) -> None:
    module: Any = KINDS[kind]
    p = module.build(roster(kind, [ASSETS[kind]]))
    device = module.device(p, module.start(p), 1.0, 0.0)
    expected = []
    for field, (name, _) in DECLARED.items():
        rule = RULES[name]
        covers = not isinstance(rule, SumRule) or bool(set(rule.uses) & set(module.USES))
        if name == "max_emissions_per_day":
            covers &= bool(np.nan_to_num(device.emissions_g_per_mwh).any())
        expected += [field] if covers else []
    assert list(RULES_OF[kind]) == expected  # type: ignore[index]
    assert list(DECLARED) == list(Policies.model_fields)
    assert list(EVERY) == list(Policies.model_fields)


@every_kind
@pytest.mark.parametrize(("mode", "drawn"), [("clip", False), ("refuse", False), ("clip", True)])
def test_a_day_keeps_every_limit(kind: str, mode: str, drawn: bool) -> None:
    """Of what the agents do by themselves; what the operator draws is not theirs to refuse."""
    steps = day_of(kind, mode, drawn)
    limit = {name: each_limit(kind, name) for name in EVERY}
    hours, hair = MINUTES / 60, 1e-6
    out_mwh, emitted_t, day = np.zeros(N), np.zeros(N), -1
    free = [use not in NO_CHOICE for use in KINDS[kind].USES]
    for step, before in zip(steps, [None, *steps[:-1]], strict=True):
        m, sent = step.meters, step.sent
        assert (sent <= step.asked).all()
        assert (sent[-1] == step.asked[-1]).all()
        assert (step.moved <= sent).all()
        assert (step.moved >= 0).all()
        assert (sent[:, free] <= limit["max_quantity_mw"][:, None] * 1e6 + hair).all()
        least = np.maximum(limit["min_quantity_mw"], 0)[:, None] * 1e6
        dropped = (sent[:, free] > 0) & (step.asked[:, free] < least)
        assert not dropped.any()
        price = np.where(sent > 0, step.price_milli, np.nan)[:-1, free] / 1e3
        if price.size and not np.isnan(price).all():
            assert np.nanmin(price - limit["min_price_per_mwh"][:-1, None]) >= -hair
            assert np.nanmax(price - limit["max_price_per_mwh"][:-1, None]) <= hair
        reduced = used(kind, sent, Use.REDUCTION)
        protected = np.where(np.isinf(limit["protected_load_share"]), 0, 1.0)
        share = np.where(protected > 0, limit["protected_load_share"], 0)
        assert (reduced <= (1 - share) * step.load_w + hair).all()
        power_mw = (m.generation_w * (kind != "home") + m.battery_w) / 1e6
        assert (m.battery_w / 1e6 <= limit["max_discharge_mw"] + hair).all()
        assert (-m.battery_w / 1e6 <= limit["max_charge_mw"] + hair).all()
        if day != step.day:
            out_mwh, emitted_t, day = np.zeros(N), np.zeros(N), step.day
        out_mwh += np.maximum(m.battery_w, 0) / 1e6 * hours / np.sqrt(0.7)
        emitted_t += m.emissions_g / 1e6
        assert (out_mwh <= limit["max_cycles_per_day"] * 9 + hair).all() or drawn
        assert (emitted_t <= limit["max_emissions_tonnes_per_day"] + hair).all() or drawn
        share_left = m.stored_mwh / 9
        sells, buys = m.battery_w > 0, m.battery_w < 0
        assert (share_left[sells] >= limit["min_state_of_charge"][sells] - hair).all()
        assert (share_left[buys] <= limit["max_state_of_charge"][buys] + hair).all()
        if before is not None and not drawn:
            b = before.meters
            last_mw = (b.generation_w * (kind != "home") + b.battery_w) / 1e6
            rise = np.where(power_mw > 0, power_mw - last_mw, 0)
            fall = np.where(power_mw < 0, last_mw - power_mw, 0)
            assert (rise <= limit["max_ramp_up_mw_per_minute"] * MINUTES + hair).all()
            assert (fall <= limit["max_ramp_down_mw_per_minute"] * MINUTES + hair).all()


@every_kind
def test_every_rule_of_a_kind_binds_in_that_day(kind: str) -> None:
    """Else the test above would say nothing about it. Rules that only count change nothing."""
    for mode in MODES:
        rows: dict[str, int] = {}
        for step in day_of(kind, mode):
            for found in step.found:
                for name, count in found.count().items():
                    rows[name] = rows.get(name, 0) + count
        expected = {DECLARED[field][0] for field in RULES_OF[kind]}  # type: ignore[index]
        assert {name for name, count in rows.items() if count} == expected, mode
    free, counted = day_of(kind, None), day_of(kind, "count")
    for one, other in zip(free, counted, strict=True):
        np.testing.assert_array_equal(one.price_milli, other.price_milli)
        np.testing.assert_array_equal(one.moved, other.moved)
        np.testing.assert_array_equal(one.meters.delivered_w, other.meters.delivered_w)


@every_kind
def test_agents_are_checked_alone(kind: str) -> None:
    """The last agent has no policy: its days are those without a gate."""
    for one, other in zip(day_of(kind, None), day_of(kind, "clip"), strict=True):
        assert one.meters.delivered_w[-1] == other.meters.delivered_w[-1]
        assert (one.moved[-1] == other.moved[-1]).all()


FLEETS_OF_A_RUN: dict[str, dict[str, Any]] = {
    "consumer": {"protected_load_share": 0.9},
    "ev": {"max_charge_mw": 0.006},
    "generator": {"max_emissions_tonnes_per_day": 90, "max_ramp_up_mw_per_minute": 2},
    "home": {"max_cycles_per_day": 0.3, "min_state_of_charge": 0.3},
    "solar": {"max_ramp_up_mw_per_minute": 0.02},
    "storage": {
        "max_discharge_mw": 9,
        "max_charge_mw": {"limit": 8, "on_violation": "refuse"},
        "min_state_of_charge": 0.3,
        "max_cycles_per_day": 0.2,
        "max_ramp_up_mw_per_minute": 0.4,
    },
    "wind": {"max_quantity_mw": {"limit": 4, "on_violation": "count"}},
}


HELD_MINUTES, HELD_EACH = 20, 3


def held_town() -> Scenario:
    """One local day of every kind, 3 agents each; kinds follow each other by name."""
    return Scenario.model_validate(
        {
            "name": "held",
            "ticks": 1440 // HELD_MINUTES,
            "tick_minutes": HELD_MINUTES,
            "world": {"forecast": "perfect"},
            "outside": {"import_limit_mw": 300, "export_limit_mw": 300},
            "fleets": [
                {"name": kind, "kind": kind, "count": HELD_EACH, "policies": policies}
                for kind, policies in FLEETS_OF_A_RUN.items()
            ],
        }
    )


def test_trained_agents_keep_the_policies_of_their_scenario(tmp_path: Path) -> None:
    """As the audit finds that checks every contract against them; nobody trained these agents."""
    saved(tmp_path / "set", one_each())
    done = session.run(
        held_town(), engine="inline", policies_from=tmp_path / "set", learn=True, out=tmp_path
    )
    agents = done.agents.to_pandas()
    kind = agents["agent"].to_numpy() // HELD_EACH
    storage, ev = (agents[kind == sorted(FLEETS_OF_A_RUN).index(k)] for k in ("storage", "ev"))
    assert -8_000_000 <= storage["battery_w"].min() < 0 < storage["battery_w"].max() <= 9_000_000
    assert storage["stored_mwh"].min() >= 0.3 * 100 - 1e-9
    assert -6_000 <= ev["battery_w"].min() < 0
    assert done.run_dir is not None
    report = verify_run(done.run_dir)
    assert report.fault is None
    assert any(report.tally.violations.values()), "nothing was held back"


def test_a_run_keeps_the_policies_of_its_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """See `held_town`."""
    monkeypatch.setenv("SWARM_CACHE_DIR", str(tmp_path / "cache"))
    minutes, each, scenario = HELD_MINUTES, HELD_EACH, held_town()
    done = session.run(scenario, engine="inline", policy="random", out=tmp_path)
    agents = done.agents.to_pandas()
    kinds = np.array(sorted(FLEETS_OF_A_RUN))
    table = {
        name: agents[name].to_numpy().reshape(scenario.ticks, len(kinds), each)
        for name in ("battery_w", "generation_w", "stored_mwh", "emissions_g", "shifted_w")
    }

    def of(kind: str, column: str) -> np.ndarray:
        found: np.ndarray = table[column][:, list(kinds).index(kind)]
        return found

    hours, mw = minutes / 60, 1e6
    power = of("storage", "battery_w")
    assert 9 * mw >= power.max() > 8 * mw
    assert -8 * mw <= power.min() < 0
    rise = np.diff(power, axis=0, prepend=0)[power > 0]
    assert rise.max() <= 0.4 * minutes * mw
    for kind, size in (("storage", 100), ("home", 0.01)):
        out = np.maximum(of(kind, "battery_w"), 0).sum(axis=0) * hours / mw / np.sqrt(0.9)
        cycles = out / size
        most = FLEETS_OF_A_RUN[kind]["max_cycles_per_day"]
        assert (cycles <= most + 1e-9).all()
        assert (cycles > 0.9 * most).any()
        assert (of(kind, "stored_mwh") >= 0.3 * size - 1e-9).all()
    assert of("ev", "battery_w").min() == pytest.approx(-0.006 * mw)
    emitted = of("generator", "emissions_g").sum(axis=0)
    assert (emitted <= 90 * 1e6).all()
    assert (emitted > 80 * 1e6).any()
    for kind, ramp in (("generator", 2), ("solar", 0.02)):
        rise = np.diff(of(kind, "generation_w"), axis=0, prepend=0)
        assert rise.max() == pytest.approx(ramp * minutes * mw)
    assert of("consumer", "shifted_w").max() == pytest.approx(0.1 * 50 * mw)
    assert of("wind", "generation_w").max() > 4 * mw  # only counted
    assert done.run_dir is not None
    report = verify_run(done.run_dir)
    assert report.fault is None
    broken = {name.split()[1] for name, count in report.tally.violations.items() if count}
    declared = {DECLARED[f][0] for fleet in FLEETS_OF_A_RUN.values() for f in fleet}
    assert broken == declared
