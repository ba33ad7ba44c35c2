"""The scenario: everything a run depends on besides code. Frozen, and strict about names."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from swarm.scenario.assets import Kind, Model, NonNegative, Positive, ProfileName
from swarm.scenario.events import AnyEvent
from swarm.scenario.grid import Grid
from swarm.scenario.negotiation import Negotiation
from swarm.scenario.policies import Policies
from swarm.scenario.trust import Trust

NO_END = 2**31
"""The tick after the last of an event that goes on."""
FleetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
AgentName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Uniform(Model):
    """Drawn evenly between two values."""

    uniform: tuple[float, float] = Field(description="Lowest and highest value.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.uniform[0] > self.uniform[1]:
            raise ValueError(f"uniform: {self.uniform[0]:g} is above {self.uniform[1]:g}")
        return self


class Normal(Model):
    """Drawn from a normal distribution, cut at three standard deviations."""

    normal: tuple[float, NonNegative] = Field(description="Mean and standard deviation.")


class Choice(Model):
    """Drawn evenly from a list."""

    choice: tuple[float | bool | str, ...] = Field(min_length=1, description="The values.")


Draw = Uniform | Normal | Choice


class Fleet(Model):
    """Agents of one kind: `count` of them with drawn parameters, or an explicit list."""

    name: FleetName = Field(description="Prefix of the ids of its drawn agents.")
    kind: Kind = Field(description="Agent kind; see docs for the parameters of each.")
    count: Annotated[int, Field(ge=0, le=10_000_000)] | None = Field(
        None, description="How many agents to draw."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Parameter values, or ranges: {uniform: [a, b]}, {normal: [mean, sd]}, "
        "{choice: [..]}, drawn per agent by seed.",
    )
    agents: tuple[dict[str, Any], ...] = Field(
        (), description="Explicit agents: `name` and parameters each."
    )
    policies: Policies = Field(
        Policies(), description="Limits of its agents' orders and dispatch; none by default."
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.count is not None and self.agents:
            raise ValueError("give 'count' or 'agents', not both")
        if self.count is None and not self.agents:
            raise ValueError("give 'count' (drawn) or 'agents' (explicit list)")
        return self


class Site(Model):
    """Where it is; sun and weather follow from it."""

    latitude: Annotated[float, Field(ge=-90, le=90)] = 52.5
    longitude: Annotated[float, Field(ge=-180, le=180)] = 13.4
    altitude_m: Annotated[float, Field(ge=-430, le=9000)] = 40.0


class Market(Model):
    """Market rules."""

    mechanism: Literal["uniform_price", "pay_as_bid", "negotiated"] = "uniform_price"
    price_cap: float = Field(3000.0, description="Highest price; inelastic demand bids at it.")
    price_floor: float = Field(-500.0, description="Lowest price.")
    vertical_step: Literal["lower", "midpoint"] = Field(
        "lower", description="Price where the curves meet on a vertical step."
    )
    imbalance_penalty_per_mwh: NonNegative = Field(
        10.0, description="Added to the clearing price for energy short, taken off for energy long."
    )
    negotiation: Negotiation = Field(Negotiation(), description="Rules of `negotiated`.")

    @model_validator(mode="after")
    def _floor_below_cap(self) -> Self:
        if self.price_floor >= self.price_cap:
            raise ValueError(
                f"price_floor {self.price_floor:g} is not below price_cap {self.price_cap:g}"
            )
        return self


class Outside(Model):
    """The connection to the grid outside: sells imports and buys exports, within limits."""

    import_limit_mw: NonNegative = 0.0
    export_limit_mw: NonNegative = 0.0
    balancing_margin_mw: NonNegative = Field(
        0.0, description="Part of both limits that is not traded, kept to balance deviations."
    )
    price_per_mwh: float = Field(
        80.0, description="Mean outside price; an `outside_price` series from data replaces it."
    )
    profile: ProfileName = Field(
        "daily_price", description="Series the mean is multiplied with; `flat` is constant."
    )
    import_premium_per_mwh: NonNegative = Field(0.0, description="Added for imports.")
    export_discount_per_mwh: NonNegative = Field(0.0, description="Taken off for exports.")
    emissions_kg_per_mwh: NonNegative = Field(400.0, description="CO2 of imported energy.")
    renewable_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="Share of imports counted as renewable."
    )
    rated_mva: NonNegative = Field(
        0.0, description="Equivalent rating of the grid outside, for its inertia and droop."
    )
    inertia_s: NonNegative = Field(5.0, description="Its inertia constant H on that rating, s.")
    droop: Positive = Field(0.05, description="Its droop on that rating.")


class World(Model):
    """The built-in weather and load model."""

    sites: Annotated[int, Field(ge=1, le=10_000)] = Field(
        1, description="Weather columns; agents are spread over them."
    )
    forecast: Literal["perfect", "persistence", "clear_sky"] = Field(
        "persistence",
        description="What agents know of the coming interval's weather and load: all of it, "
        "what the last interval brought, or that with the sun's path (clear-sky index) followed.",
    )


class Data(Model):
    """How a file given with --data is read. Times with an offset, or a `timezone`."""

    format: Literal["table", "rts_gmlc"] = Field("table", description="CSV or Parquet, or a root.")
    time: str = Field("time", description="Column of the time stamps.")
    timestamp_is: Literal["interval_start", "interval_end"] = "interval_start"
    timezone: str | None = Field(None, description="IANA zone of times without an offset.")
    columns: dict[ProfileName, str] = Field(
        default_factory=dict,
        description="Series name: column name. `outside_price` is in the scenario's currency per "
        "MWh; any other series is divided by `scale`.",
    )
    scale: dict[ProfileName, Positive] = Field(
        default_factory=dict, description="Series name: value that stands for 1."
    )
    missing: Literal["refuse", "hold"] = Field(
        "refuse", description="A missing value or time: refuse it, or hold the last value (told)."
    )
    coarser: Literal["linear", "hold"] = Field(
        "linear", description="Series coarser than a tick: joined linearly, or held."
    )


class Condenser(Model):
    """A synchronous condenser: inertia, no energy, not an agent."""

    name: AgentName
    rated_mva: NonNegative
    inertia_s: NonNegative


class Baseline(Model):
    """A second run to compare with: the same scenario with some fields replaced."""

    name: str = Field(description="What the second run is called, e.g. `without the swarm`.")
    set: tuple[str, ...] = Field(
        min_length=1, description="Fields to replace, as with --set: `grid.swarm=false`."
    )


class Results(Model):
    """What is written."""

    agents: Literal["auto", "full", "sample"] = Field(
        "auto", description="Table of agents: all, or a seeded sample; auto: all up to 10,000."
    )
    sample: Annotated[int, Field(ge=1)] = Field(1000, description="Agents in the sample.")
    orders: bool = Field(False, description="Also write every order of every tick.")


class Scenario(Model):
    """One simulation, complete: with the code's version it determines the result files."""

    name: FleetName
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    ticks: Annotated[int, Field(ge=1, le=10_000_000)] = 288
    tick_minutes: Annotated[int, Field(ge=1, le=1440)] = 5
    start: AwareDatetime = Field(
        datetime.fromisoformat("2025-06-18T00:00:00+01:00"),
        description="Start of the first tick; its UTC offset is the local clock of the run.",
    )
    site: Site = Site()
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    nominal_frequency_hz: Literal[50, 60] = 50
    carbon_price_per_tonne: NonNegative = 0.0
    outages: bool = Field(True, description="False switches the random forced outages off.")
    market: Market = Market()
    outside: Outside | None = Field(None, description="None: an island.")
    world: World = World()
    data: Data | None = Field(None, description="How to read --data; None: takes none.")
    fleets: tuple[Fleet, ...] = ()
    condensers: tuple[Condenser, ...] = ()
    events: tuple[AnyEvent, ...] = ()
    grid: Grid | None = Field(None, description="None: a balance of megawatts, no physics.")
    trust: Trust = Trust()
    baseline: Baseline | None = Field(None, description="None: one run, no comparison.")
    results: Results = Results()

    @field_validator("start")
    @classmethod
    def _whole_minutes(cls, start: datetime) -> datetime:
        if start.second or start.microsecond:
            raise ValueError("start must be a whole minute")
        return start

    @model_validator(mode="after")
    def _unique_fleets(self) -> Self:
        names = [fleet.name for fleet in self.fleets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"duplicate fleet name {twice[0]!r}")
        return self

    @model_validator(mode="after")
    def _events_inside(self) -> Self:
        for index, event in enumerate(self.events):
            first, _ = self.event_ticks(event)
            if not 0 <= first < self.ticks:
                raise ValueError(
                    f"events[{index}] ({event.type}) starts at tick {first}, outside the run "
                    f"of ticks 0..{self.ticks - 1}"
                )
        return self

    @property
    def tick_hours(self) -> float:
        """Length of a tick in hours."""
        return self.tick_minutes / 60

    def hz(self, at_50_hz: float) -> float:
        """A frequency or deviation given for 50 Hz, in this system."""
        return at_50_hz * self.nominal_frequency_hz / 50

    def event_ticks(self, event: AnyEvent) -> tuple[int, int]:
        """First tick of `event` and the tick after its last, cut to the run's end."""
        first, stop = self.event_span(event)
        return first, min(self.ticks, stop)

    def event_span(self, event: AnyEvent) -> tuple[int, int]:
        """First tick of `event` and the tick after its last, wherever the run ends."""
        if event.tick is not None:
            first = event.tick
        else:
            assert event.at is not None
            hour, minute = (int(part) for part in event.at.split(":"))
            midnight = self.start.replace(hour=0, minute=0)
            begin = midnight + timedelta(days=event.day, hours=hour, minutes=minute)
            first = (begin - self.start) // timedelta(minutes=self.tick_minutes)
        if event.duration_minutes is None:
            return first, NO_END
        return first, first + max(1, round(event.duration_minutes / self.tick_minutes))
