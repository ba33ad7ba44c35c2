"""The world of a run: every exogenous series as arrays, made before the first tick."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypedDict

import numpy as np

from swarm.errors import UsageError, nearest
from swarm.scenario.assets import ASSETS
from swarm.scenario.events import PriceSpike
from swarm.scenario.schema import Scenario
from swarm.world.builtin import BUILTIN_SERIES, builtin_series, default_cache
from swarm.world.rts_gmlc import read_rts_gmlc
from swarm.world.table import read_table

HORIZON_HOURS = 24
PROFILE_FIELDS = ("profile", "load_profile", "solar_profile")
OUTSIDE_PRICE = "outside_price"
CLEAR_SKY = "clear_sky"
SUN_KINDS = ("home", "solar")
"""Kinds whose availability is the sun's."""


@dataclass(frozen=True)
class World:
    """What agents, market and operator meet.

    Attributes:
        scenario: complete, with fleets that came from data.
        series: name -> float64 (rows, columns); row t is tick t, and there are at least `ticks`.
        outside_price: float64 (rows,), per MWh, events included; None on an island.
        outside_price_from_data: it was measured, so nobody knows it in advance.
        price_cap: float64 (ticks,), per MWh.
        carbon_price: float64 (ticks,), per tonne.
        notes: what the user should know of how the data were read.
    """

    scenario: Scenario
    series: dict[str, np.ndarray]
    outside_price: np.ndarray | None
    outside_price_from_data: bool
    price_cap: np.ndarray
    carbon_price: np.ndarray
    notes: tuple[str, ...]


def build_world(scenario: Scenario, data: Path | None, cache: Path | None = None) -> World:
    """Make or read every series that `scenario` needs.

    Args:
        scenario: validated.
        data: the path given with --data.
        cache: folder for built-in series; None takes the user's cache folder.

    Raises:
        UsageError: where data is missing or wrong, or an outside price is outside the bounds.
    """
    horizon = HORIZON_HOURS * 60 // scenario.tick_minutes
    scenario, series, notes = _read_data(scenario, data, horizon)
    series = _add_builtin(scenario, series, scenario.ticks + horizon, cache or default_cache())
    price = _outside_price(scenario, series, notes)
    return World(
        scenario=scenario,
        series=series,
        outside_price=price,
        outside_price_from_data=OUTSIDE_PRICE in series,
        price_cap=_stepped(scenario, "policy_change", "price_cap", scenario.market.price_cap),
        carbon_price=_stepped(
            scenario, "carbon_price", "price_per_tonne", scenario.carbon_price_per_tonne
        ),
        notes=tuple(notes),
    )


def _read_data(
    scenario: Scenario, data: Path | None, horizon: int
) -> tuple[Scenario, dict[str, np.ndarray], list[str]]:
    """The scenario with the fleets that came from data, the series read, and what to tell."""
    rules = scenario.data
    if data is None:
        if rules is not None and rules.format == "rts_gmlc":
            raise UsageError(
                f"scenario {scenario.name!r} needs --data PATH: the root of an RTS-GMLC checkout "
                "(the folder that holds RTS_Data)"
            )
        return scenario, {}, []
    if rules is None:
        raise UsageError(
            f"--data {data}: scenario {scenario.name!r} takes no data; "
            "add a 'data' section that says how to read it"
        )
    window = _Window(
        start=scenario.start,
        tick_minutes=scenario.tick_minutes,
        ticks=scenario.ticks,
        horizon_ticks=horizon,
    )
    if rules.format == "table":
        table = read_table(data, rules, currency=scenario.currency, **window)
        return scenario, table.series, list(table.notes)
    system = read_rts_gmlc(data, rules, price_floor=scenario.market.price_floor, **window)
    whole = scenario.model_copy(
        update={
            "fleets": (*scenario.fleets, *system.fleets),
            "condensers": (*scenario.condensers, *system.condensers),
        }
    )
    return whole, system.series, list(system.notes)


class _Window(TypedDict):
    """What both readers are asked for."""

    start: datetime
    tick_minutes: int
    ticks: int
    horizon_ticks: int


def _add_builtin(
    scenario: Scenario, series: dict[str, np.ndarray], rows: int, cache: Path
) -> dict[str, np.ndarray]:
    needed = {"flat"}
    for fleet in scenario.fleets:
        for field in PROFILE_FIELDS:
            if field in ASSETS[fleet.kind].model_fields:
                default = ASSETS[fleet.kind].model_fields[field].default
                needed |= _profiles(fleet.parameters.get(field, default))
                needed |= {p for a in fleet.agents if field in a for p in _profiles(a[field])}
    kinds = {fleet.kind for fleet in scenario.fleets}
    if scenario.world.forecast == "clear_sky" and kinds.intersection(SUN_KINDS):
        needed.add(CLEAR_SKY)
    if scenario.outside is not None and OUTSIDE_PRICE not in series:
        needed.add(scenario.outside.profile)
    wanted = sorted(needed - series.keys())
    for name in wanted:
        if name not in BUILTIN_SERIES:
            raise UsageError(
                f"scenario {scenario.name!r}: no series called {name!r}"
                f"{nearest(name, [*BUILTIN_SERIES, *series])}; "
                "it is neither built in nor in the data"
            )
    built = builtin_series(
        wanted,
        seed=scenario.seed,
        site=scenario.site,
        start=scenario.start,
        tick_minutes=scenario.tick_minutes,
        ticks=rows,
        sites=scenario.world.sites,
        cache=cache,
    )
    return {**series, **built}


def _profiles(value: object) -> set[str]:
    """Names in a profile parameter: one name, or the choices of a draw."""
    if isinstance(value, dict):
        return {str(name) for name in value.get("choice", ())}
    return set() if value is None else {str(value)}


def _outside_price(
    scenario: Scenario, series: dict[str, np.ndarray], notes: list[str]
) -> np.ndarray | None:
    outside = scenario.outside
    if outside is None:
        return None
    from_data = OUTSIDE_PRICE in series
    if from_data:
        price = series[OUTSIDE_PRICE][:, 0].copy()
    else:
        price = outside.price_per_mwh * series[outside.profile][:, 0]
    for event in scenario.events:
        if not isinstance(event, PriceSpike):
            continue
        if from_data:
            notes.append("price_spike event skipped: the outside price comes from data")
            continue
        first, stop = scenario.event_span(event)
        price[first:stop] = event.price_per_mwh
    _check_price(scenario, price, "the data" if from_data else "the built-in model")
    return price


def _check_price(scenario: Scenario, price: np.ndarray, source: str) -> None:
    outside, market = scenario.outside, scenario.market
    assert outside is not None
    caps = _stepped(scenario, "policy_change", "price_cap", market.price_cap)
    imports = price[: scenario.ticks] + outside.import_premium_per_mwh
    over = imports > caps
    if over.any():
        tick = int(np.argmax(np.where(over, imports, -np.inf)))
        raise UsageError(
            f"scenario {scenario.name!r}: the outside price from {source} reaches "
            f"{imports[tick]:g} {scenario.currency}/MWh at tick {tick}, above market.price_cap "
            f"{caps[tick]:g}; raise the cap (--set market.price_cap={imports[tick]:g})"
        )
    lowest = price[: scenario.ticks].min()
    if lowest < market.price_floor:
        raise UsageError(
            f"scenario {scenario.name!r}: the outside price from {source} falls to {lowest:g} "
            f"{scenario.currency}/MWh, below market.price_floor {market.price_floor:g}; lower the "
            f"floor (--set market.price_floor={lowest:g})"
        )


def _stepped(scenario: Scenario, type_: str, field: str, base: float) -> np.ndarray:
    """A value per tick, float64 (ticks,): `base`, replaced while events of `type_` last."""
    values = np.full(scenario.ticks, base)
    for event in scenario.events:
        if event.type == type_:
            first, stop = scenario.event_ticks(event)
            values[first:stop] = getattr(event, field)
    return values
