"""From a world to the specs of everything that runs in it: shards by host, market, operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from swarm.agents import generator
from swarm.agents.effects import Clock, Effect
from swarm.agents.kinds import KINDS
from swarm.agents.policy import Learned, load_policy
from swarm.agents.shard import ShardSpec
from swarm.errors import UsageError
from swarm.grid.build import condenser_kws, physics_spec
from swarm.grid.devices import FLEXIBLE_KINDS
from swarm.grid.feeder_table import FeederTable
from swarm.grid.forecast import ForecastSpec, PriceForecast, Spike
from swarm.grid.operator import OperatorSpec
from swarm.grid.policy import Learned as OperatorLearned
from swarm.market.auction import MarketSpec
from swarm.market.outside import Connection
from swarm.messages import NO_CODES
from swarm.runtime.signing import signing_of
from swarm.scenario.check import fleets_from_data
from swarm.scenario.events import CloudFront, LoadStep, Maintenance, Outage, PriceSpike
from swarm.scenario.fleets import rosters
from swarm.scenario.grid import Reserves
from swarm.scenario.load import baseline_of
from swarm.scenario.negotiation import Negotiation
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario
from swarm.trust.holder import Signing
from swarm.world.world import CLEAR_SKY, SUN_KINDS, World

NOTHING_LEARNED: Mapping[str, Learned] = {}


@dataclass(frozen=True)
class Plan:
    """A run, ready to be packed onto hosts.

    Attributes:
        shards: one per agent kind, all its agents.
        market: without hosts yet.
        operator: the operator's spec.
        rosters: the agents, by kind, in global order.
        signing: how contracts are signed; None: they are not.
        public_keys: of the agents, in global order, and last the market's; empty without.
    """

    shards: tuple[ShardSpec, ...]
    market: MarketSpec
    operator: OperatorSpec
    rosters: tuple[Roster, ...]
    signing: Signing | None = None
    public_keys: tuple[bytes, ...] = ()

    @property
    def feeder(self) -> FeederTable | None:
        """The feeder, where there is one."""
        physics = self.operator.physics
        return None if physics is None else physics.feeder

    @property
    def agents(self) -> int:
        """Number of agents."""
        return sum(len(roster) for roster in self.rosters)


def check_grid(scenario: Scenario) -> None:
    """Refuse a physical grid, of `scenario` or of its baseline, that cannot be.

    A scenario whose agents come with --data is checked when it runs.

    Raises:
        UsageError: see `physics_spec` and `baseline_of`.
    """
    for each in (baseline_of(scenario), scenario):
        if each is not None and each.grid is not None and not fleets_from_data(each):
            physics_spec(each, rosters(each))


def plan(
    world: World,
    policy: str,
    keys: Path | None = None,
    learned: Mapping[str, Learned] = NOTHING_LEARNED,
) -> Plan:
    """Specs for `world` in which every agent follows `policy`.

    Args:
        world: the scenario and its series.
        policy: name for `load_policy`.
        keys: folder of keys; None: they are derived from the seed.
        learned: by kind, what agents act with that follow `trained`; other kinds then follow the
            heuristic. "operator": what a trained grid operator acts with.

    Raises:
        UsageError: where an agent is invalid, a site does not exist, the policy is unknown or a
            key cannot be used.
    """
    load_policy(policy)
    scenario = world.scenario
    agents = rosters(scenario)
    signing, public_keys = signing_of(scenario, agents, keys)
    physics = physics_spec(scenario, agents)
    effects = _effects(scenario, agents)
    begin = scenario.start
    clock = Clock(scenario.tick_minutes, begin.hour + begin.minute / 60)
    shards = tuple(
        replace(
            _shard(world, roster, clock, _followed(policy, roster, learned), effects),
            signing=signing,
            learned=learned.get(roster.kind),
        )
        for roster in agents
    )
    outside = _connection(world)
    reserves = (scenario.grid and scenario.grid.reserves) or Reserves()
    operator = OperatorSpec(
        seed=scenario.seed,
        ticks=scenario.ticks,
        tick_minutes=scenario.tick_minutes,
        price_floor=scenario.market.price_floor,
        price_cap=world.price_cap,
        carbon_price_per_tonne=world.carbon_price,
        outside=outside,
        forecast=PriceForecast(_forecast(world, shards, outside)),
        condenser_inertia_kws=condenser_kws(scenario),
        start_hour=clock.start_hour,
        physics=physics,
        policy="heuristic" if scenario.grid is None else scenario.grid.operator,
        learned=of_operator(learned.get("operator")),
        outside_emissions_kg_per_mwh=_emissions_kg_per_mwh(scenario),
        host_agents=(),
    )
    market = MarketSpec(
        mechanism=scenario.market.mechanism,
        vertical_step=scenario.market.vertical_step,
        price_floor=scenario.market.price_floor,
        price_cap=world.price_cap,
        penalty_per_mwh=scenario.market.imbalance_penalty_per_mwh,
        tick_minutes=scenario.tick_minutes,
        outside=outside,
        host_agents=(),
        keep_orders=scenario.results.orders,
        reserve_price_cap_per_mw_h=reserves.price_cap_per_mw_h,
        reserve_penalty_factor=reserves.penalty_factor,
        negotiation=_negotiation(scenario),
        signing=signing,
        own_sun=np.concatenate(
            [np.full(len(roster), roster.kind == "home") for roster in agents] or [NO_CODES]
        ),
    )
    return Plan(shards, market, operator, agents, signing, public_keys)


def of_operator(
    learned: Learned | None, preference: tuple[float, ...] | None = None
) -> OperatorLearned | None:
    """What a learned operator acts with; the preference is the scenario's unless given."""
    if learned is None:
        return None
    explores = learned.exploration
    epsilon = None if explores is None else explores.operator
    return OperatorLearned(learned.weights["operator"], epsilon, preference)


def _emissions_kg_per_mwh(scenario: Scenario) -> float:
    return 0.0 if scenario.outside is None else scenario.outside.emissions_kg_per_mwh


def _followed(policy: str, roster: Roster, learned: Mapping[str, Learned]) -> str:
    return "heuristic" if policy == "trained" and roster.kind not in learned else policy


def _negotiation(scenario: Scenario) -> Negotiation | None:
    market = scenario.market
    return market.negotiation if market.mechanism == "negotiated" else None


def _shard(
    world: World, roster: Roster, clock: Clock, policy: str, effects: tuple[Effect, ...]
) -> ShardSpec:
    scenario = world.scenario
    if not scenario.outages and roster.kind == "generator":
        sound = tuple({**asset, "mean_time_to_failure_hours": None} for asset in roster.assets)
        roster = replace(roster, assets=sound)
    series, columns = {}, {}
    roles = KINDS[roster.kind].series(roster)
    if scenario.world.forecast == "clear_sky" and roster.kind in SUN_KINDS:
        roles = {**roles, CLEAR_SKY: (CLEAR_SKY,) * len(roster)}
    for role, names in roles.items():
        used = sorted(set(names))
        start = dict(zip(used, _offsets([world.series[n].shape[1] for n in used]), strict=True))
        rows = min(len(world.series[n]) for n in used)
        series[role] = np.concatenate([world.series[n][:rows] for n in used], axis=1)
        columns[role] = np.array(
            [
                start[name] + _site(roster, row, world.series[name].shape[1])
                for row, name in enumerate(names)
            ],
            dtype=np.int64,
        )
    grid = scenario.grid
    flexible, shadow = roster.kind in FLEXIBLE_KINDS, scenario.trust.shadow
    # In shadow mode the physics are those of the run without the swarm.
    acts = not flexible or (not shadow and (grid is None or grid.swarm))
    return ShardSpec(
        roster=roster,
        seed=scenario.seed,
        clock=clock,
        policy=policy if acts else "passive",
        series=series,
        columns=columns,
        forecast=scenario.world.forecast,
        effects=effects,
        physical=grid is not None,
        nominal_hz=scenario.nominal_frequency_hz,
        full_containment_hz=0.0 if grid is None else scenario.hz(grid.full_containment_at_hz),
        responds=grid is not None and acts,
        policies={
            fleet.name: fleet.policies for fleet in scenario.fleets if fleet.policies.declared
        },
        negotiation=_negotiation(scenario),
        shadow_policy=policy if shadow else None,
    )


def _offsets(widths: list[int]) -> list[int]:
    return [0, *np.cumsum(widths)[:-1].tolist()]


def _site(roster: Roster, row: int, sites: int) -> int:
    """Column of the agent at `row`: its own site, or spread by its global index."""
    site = roster.assets[row].get("site")
    if site is None:
        return (roster.first + row) % sites
    if site >= sites > 1:
        raise UsageError(
            f"agent {roster.ids[row]!r}: site {site} does not exist; "
            f"world.sites is {sites}, so sites are 0..{sites - 1}"
        )
    return int(site) if sites > 1 else 0


def _effects(scenario: Scenario, agents: tuple[Roster, ...]) -> tuple[Effect, ...]:
    found = []
    for event in scenario.events:
        first, stop = scenario.event_ticks(event)
        if isinstance(event, CloudFront):
            found.append(Effect("sun", first, stop, factor=event.factor))
        elif isinstance(event, Outage | Maintenance | LoadStep):
            members = tuple(
                roster.first + row
                for roster in agents
                for row, (name, fleet) in enumerate(zip(roster.ids, roster.fleets, strict=True))
                if name in event.agents or fleet in event.fleets
            )
            if isinstance(event, LoadStep):
                found.append(Effect("load", first, stop, members, event.factor))
            else:
                found.append(Effect(event.type, first, stop, members))
    return tuple(found)


def _connection(world: World) -> Connection:
    outside = world.scenario.outside
    if outside is None or world.outside_price is None:
        return Connection.none(world.scenario.ticks)
    return Connection(
        import_limit_w=round(outside.import_limit_mw * 1e6),
        export_limit_w=round(outside.export_limit_mw * 1e6),
        price_per_mwh=world.outside_price[: world.scenario.ticks],
        import_premium_per_mwh=outside.import_premium_per_mwh,
        export_discount_per_mwh=outside.export_discount_per_mwh,
        balancing_margin_w=round(outside.balancing_margin_mw * 1e6),
    )


def _forecast(world: World, shards: tuple[ShardSpec, ...], outside: Connection) -> ForecastSpec:
    scenario = world.scenario
    load, weather = [np.zeros(1)], [np.zeros(1)]
    width, cost, emissions = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    for spec in shards:
        kind, roster = spec.roster.kind, spec.roster
        if kind in ("consumer", "home"):
            load.append(_sum_of(spec, "load", roster.column("load_mw")))
        if kind in ("solar", "wind"):
            weather.append(_sum_of(spec, "availability", roster.column("capacity_mw")))
        if kind == "home":
            weather.append(_sum_of(spec, "availability", roster.column("solar_mw")))
        if kind == "generator":
            p = generator.build(roster)
            driven = p.weather_driven
            capacity = np.where(driven, p.capacity_mw, 0.0)
            weather.append(_sum_of(spec, "availability", capacity))
            steps = np.diff(p.step_end_mw, axis=1, prepend=0.0)[~driven]
            width.append(steps.ravel())
            of_step, emitted = generator.commitment_cost(p)
            cost.append(of_step[~driven].ravel())
            emissions.append(emitted[~driven].ravel())
    known = scenario.world.forecast == "perfect" or not world.outside_price_from_data
    connection = scenario.outside
    price = np.zeros(1)
    if connection is not None and world.outside_price is not None:
        price = world.outside_price
        if not world.outside_price_from_data:
            # Spikes are kept apart: the forecast learns of them by their notice.
            price = connection.price_per_mwh * world.series[connection.profile][:, 0]
    return ForecastSpec(
        tick_minutes=scenario.tick_minutes,
        demand_mw=_hourly(_total(load), scenario.tick_minutes),
        free_supply_mw=_hourly(_total(weather), scenario.tick_minutes),
        step_mw=np.concatenate(width),
        step_cost_per_mwh=np.concatenate(cost),
        step_emissions_kg_per_mwh=np.concatenate(emissions),
        price_floor=scenario.market.price_floor,
        import_limit_mw=outside.import_limit_w / 1e6,
        export_limit_mw=outside.export_limit_w / 1e6,
        outside_price_per_mwh=_hourly(price, scenario.tick_minutes),
        outside_price_known=known,
        outside_price_before_per_mwh=0.0 if connection is None else connection.price_per_mwh,
        import_premium_per_mwh=outside.import_premium_per_mwh,
        export_discount_per_mwh=outside.export_discount_per_mwh,
        spikes=_spikes(scenario, world.outside_price_from_data),
    )


def _spikes(scenario: Scenario, from_data: bool) -> tuple[Spike, ...]:
    if from_data:
        return ()
    found = []
    for event in scenario.events:
        if isinstance(event, PriceSpike):
            first, stop = scenario.event_span(event)
            notice = first - int(event.notice_minutes // scenario.tick_minutes)
            hours = (first * scenario.tick_minutes // 60, -(-stop * scenario.tick_minutes // 60))
            found.append(Spike(notice, *hours, event.price_per_mwh))
    return tuple(found)


def _sum_of(spec: ShardSpec, role: str, weight_mw: np.ndarray) -> np.ndarray:
    """Sum over the agents of weight times series, MW, (rows,)."""
    series = spec.series[role]
    if role == "availability":
        series = np.clip(series, 0.0, 1.0)
    by_column = np.bincount(spec.columns[role], weights=weight_mw, minlength=series.shape[1])
    # einsum without optimize adds in a fixed order; a threaded matmul may not.
    total: np.ndarray = np.einsum("tc,c->t", series, by_column)
    return total


def _total(parts: list[np.ndarray]) -> np.ndarray:
    """Sum of series over the rows that all of them have; a single row stands for all rows."""
    rows = min((len(part) for part in parts if len(part) > 1), default=1)
    return sum((part[:rows] for part in parts), np.zeros(rows))


def _hourly(values: np.ndarray, tick_minutes: int) -> np.ndarray:
    """Mean of each hour, (hours,); a tick longer than an hour counts for each of its hours."""
    minutes = len(values) * tick_minutes
    hours = np.arange(max(1, -(-minutes // 60)))
    first = hours * 60 // tick_minutes
    stop = np.maximum(first + 1, -(-((hours + 1) * 60) // tick_minutes))
    stop = np.minimum(stop, len(values))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means: np.ndarray = (sums[stop] - sums[first]) / (stop - first)
    return means
