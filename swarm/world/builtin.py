"""The built-in world: every series a scenario can name without data of its own.

| series | columns | values |
|---|---|---|
| solar, wind | sites | availability, share of plant capacity, 0..1 |
| clear_sky | 1 | availability of the sun under a cloudless sky, 0..1 |
| temperature | sites | air temperature, degrees Celsius |
| h0, g0 to g6, l0 | 1 | BDEW standard load profiles, 1 at the highest quarter hour of a year |
| factory | 1 | two shifts on weekdays, 1 at full work |
| flat | 1 | 1 |
| daily_price | 1 | outside price over its mean, always positive: nearly the same every day |
| spot_price | 1 | outside price over its mean as load, sun and wind make it; see `spot_price` |

The load profiles keep the seasons of Germany; h0 is the published one, without the yearly swing
that its dynamisation adds. Clock-bound series follow the local clock of the run, which is the UTC
offset of its start: no daylight saving, and no public holidays. Nothing here is slow to import;
pvlib and scipy are loaded when a series that needs them is made, not when it comes from the cache.
"""

from __future__ import annotations

import csv
import importlib.util
import math
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swarm.errors import UsageError, nearest
from swarm.scenario.schema import Site
from swarm.world import weather
from swarm.world.cache import cache_key, default_cache, read, write
from swarm.world.spot_price import spot_price
from swarm.world.weather import FloatArray, Timeline

__all__ = ["BUILTIN_SERIES", "builtin_series", "default_cache"]

MODEL_VERSION = 2
"""Goes into every cache key: raise it with any change of values."""

BDEW_PROFILES = ("h0", "g0", "g1", "g2", "g3", "g4", "g5", "g6", "l0")
WEATHER = {"solar": weather.solar, "wind": weather.wind, "temperature": weather.temperature}
BUILTIN_SERIES = (
    *WEATHER,
    "clear_sky",
    *BDEW_PROFILES,
    "factory",
    "flat",
    "daily_price",
    "spot_price",
)
CACHED_SERIES = (*WEATHER, "clear_sky", "daily_price", "spot_price")
"""Kept on disk, however short: they load pvlib or scipy, over a second; the rest take
milliseconds a year."""

FIRST_YEAR, LAST_YEAR = 1900, 2200

QUARTER_MINUTES = 15
QUARTERS_PER_DAY = 96
SATURDAY = 5
SEASONS = ("summer", "winter", "transition")

# Share of full work at hours of a weekday: shifts from 6 to 22 h with an hour to start up and to
# wind down; nights and weekends run at the base. A round stand-in, not a measured profile.
FACTORY_HOURS = (0.0, 5.0, 6.0, 22.0, 23.0, 24.0)
FACTORY_SHARES = (0.3, 0.3, 1.0, 1.0, 0.3, 0.3)

# Bumps of the outside price: hour, height, width in hours. Morning and evening peak, midday dip
# of solar energy, night valley; the mean over a day is 1 by construction.
PRICE_BUMPS = ((3.0, -0.25, 2.5), (8.0, 0.35, 1.5), (13.0, -0.35, 2.5), (19.0, 0.55, 2.0))
PRICE_WEEKDAY, PRICE_WEEKEND = 1.04, 0.90  # mean over a week: 1
PRICE_NOISE_SHARE = 0.05
PRICE_NOISE_HOURS = 3.0


def builtin_series(
    names: Iterable[str],
    *,
    seed: int,
    site: Site,
    start: datetime,
    tick_minutes: int,
    ticks: int,
    sites: int,
    cache: Path | None,
) -> dict[str, FloatArray]:
    """The named series, each float64, C-contiguous, shape (ticks, columns).

    Row t holds for the interval of `tick_minutes` from `start` + t ticks. The values depend on
    (seed, site, start, tick_minutes) only: more ticks append rows, more sites append columns.

    Args:
        names: of `BUILTIN_SERIES`.
        seed: the run's seed.
        site: where the sun and the weather are.
        start: start of the first tick, a whole minute with a UTC offset.
        tick_minutes: length of a tick.
        ticks: number of rows.
        sites: columns of the weather series.
        cache: folder to keep slow series in (see `default_cache`); None keeps nothing.

    Raises:
        UsageError: an unknown name, a year outside 1900 to 2200, or too little memory.
    """
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in BUILTIN_SERIES:
            raise UsageError(
                f"profile {name!r} is not a built-in series{nearest(name, BUILTIN_SERIES)}"
            )
    offset = start.utcoffset()
    if offset is None:
        raise ValueError("start has no UTC offset")
    _check_years(start, ticks, tick_minutes)
    timeline = Timeline(start.timestamp(), offset.total_seconds(), tick_minutes, ticks)
    folder = None if cache is None else cache / "world"
    try:
        return {name: _series(name, seed, site, timeline, sites, folder) for name in wanted}
    except MemoryError:
        gigabytes = sum(ticks * (sites if name in WEATHER else 1) * 8e-9 for name in wanted)
        raise UsageError(
            f"the world's series take {gigabytes:.1f} GB ({ticks} ticks, {sites} sites), more "
            "memory than there is; lower 'world.sites' or 'ticks'"
        ) from None


def _check_years(start: datetime, ticks: int, tick_minutes: int) -> None:
    years = ticks * tick_minutes / (24 * 60) / weather.DAYS_PER_YEAR
    if start.year < FIRST_YEAR or start.year + 1 + years > LAST_YEAR:
        raise UsageError(
            f"the built-in world covers {FIRST_YEAR} to {LAST_YEAR}; {ticks} ticks of "
            f"{tick_minutes} minutes from {start.isoformat()} do not fit: change 'start' or 'ticks'"
        )


def _series(
    name: str, seed: int, site: Site, timeline: Timeline, sites: int, folder: Path | None
) -> FloatArray:
    columns = sites if name in WEATHER else 1
    if folder is None or name not in CACHED_SERIES:
        return _make(name, seed, site, timeline, columns)
    key = cache_key(
        model=MODEL_VERSION,
        # A library's next version may give other values: cached and fresh must not differ.
        libraries=[version(library) for library in ("numpy", "scipy", "pvlib")],
        series=name,
        seed=seed,
        site=site.model_dump(),
        timeline=[timeline.start_s, timeline.utc_offset_s, timeline.tick_minutes, timeline.ticks],
        columns=columns,
    )
    array = read(folder, key, (timeline.ticks, columns))
    if array is None:
        array = _make(name, seed, site, timeline, columns)
        write(folder, key, array)
    return array


def _make(name: str, seed: int, site: Site, timeline: Timeline, columns: int) -> FloatArray:
    if name in WEATHER:
        return WEATHER[name](seed, site, timeline, columns)
    if name == "clear_sky":
        values = weather.clear_sky(site, timeline)
    elif name in BDEW_PROFILES:
        values = _bdew(name, timeline)
    elif name == "factory":
        values = timeline.tick_means(_factory(_local_s(timeline)))
    elif name == "daily_price":
        values = timeline.tick_means(_daily_price(seed, timeline))
    elif name == "spot_price":
        load = 0.5 * (_bdew("h0", timeline) + _bdew("g0", timeline))
        values = spot_price(seed, site, timeline, load)
    else:
        values = np.ones(timeline.ticks)
    return np.ascontiguousarray(values[:, np.newaxis])


def _local_s(timeline: Timeline) -> FloatArray:
    """Local clock at the middle of every step, seconds since 1 January 1970 on that clock."""
    return timeline.middles_s() + timeline.utc_offset_s


def _hour_and_weekday(local_s: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Hour of the day, 0..24, and weekday, 0 Monday to 6 Sunday."""
    days = np.floor(local_s / weather.SECONDS_PER_DAY)
    hours = (local_s - days * weather.SECONDS_PER_DAY) / 3600
    return hours, _weekday(days.astype(np.int64))


def _weekday(days: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 Monday to 6 Sunday; 1 January 1970 was a Thursday."""
    return (days + 3) % 7


def _factory(local_s: FloatArray) -> FloatArray:
    hours, weekdays = _hour_and_weekday(local_s)
    return np.where(
        weekdays < SATURDAY, np.interp(hours, FACTORY_HOURS, FACTORY_SHARES), FACTORY_SHARES[0]
    )


def _daily_price(seed: int, timeline: Timeline) -> FloatArray:
    """Shape times log-normal noise of mean 1: AR(1) in its logarithm, hence positive."""
    hours, weekdays = _hour_and_weekday(_local_s(timeline))
    shape = np.ones_like(hours)
    for centre, height, width in PRICE_BUMPS:
        distance = (hours - centre + 12) % 24 - 12
        bump_mean = width * math.sqrt(2 * math.pi) / 24
        shape += height * (np.exp(-0.5 * (distance / width) ** 2) - bump_mean)
    z = weather.ar1(
        seed,
        "daily_price",
        0,
        steps=len(hours),
        step_s=timeline.step_s,
        time_constant_hours=PRICE_NOISE_HOURS,
    )
    noise = np.exp(PRICE_NOISE_SHARE * z - 0.5 * PRICE_NOISE_SHARE**2)
    return np.where(weekdays < SATURDAY, PRICE_WEEKDAY, PRICE_WEEKEND) * shape * noise


def _bdew(name: str, timeline: Timeline) -> FloatArray:
    """A BDEW standard load profile, shape (ticks,).

    The source has a mean per quarter hour, season and weekday (VDEW, Repraesentative
    Lastprofile, 1999), so its highest value is that of every calendar year. Ticks of a quarter
    hour and more take means; shorter ones lie on lines between the middles of quarter hours.
    """
    table = _bdew_table(name)
    table /= table.max()
    first_minute = math.floor((timeline.start_s + timeline.utc_offset_s) / 60)
    starts = first_minute + timeline.tick_minutes * np.arange(timeline.ticks)
    if timeline.tick_minutes < QUARTER_MINUTES:
        half_minutes = 2 * starts + timeline.tick_minutes - QUARTER_MINUTES  # from a first middle
        before, share = np.divmod(half_minutes, 2 * QUARTER_MINUTES)
        share = share / (2 * QUARTER_MINUTES)
        return (1 - share) * _quarters(table, before) + share * _quarters(table, before + 1)
    # The longest piece that never straddles two quarter hours.
    piece = math.gcd(timeline.tick_minutes, QUARTER_MINUTES, first_minute % QUARTER_MINUTES)
    total = np.zeros(timeline.ticks)
    for minute in range(0, timeline.tick_minutes, piece):
        total += _quarters(table, (starts + minute) // QUARTER_MINUTES)
    return total / (timeline.tick_minutes // piece)


def _quarters(table: FloatArray, quarters: NDArray[np.int64]) -> FloatArray:
    """Values of quarter hours counted from 1 January 1970 on the local clock."""
    days = quarters // QUARTERS_PER_DAY
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    day_of_month = (dates - months.astype("datetime64[D]")).astype(np.int64) + 1
    date = (months.astype(np.int64) % 12 + 1) * 100 + day_of_month  # 515 is 15 May
    # Summer 15 May to 14 September, winter 1 November to 20 March, between them transition.
    summer = (date >= 515) & (date <= 914)
    winter = (date >= 1101) | (date <= 320)
    season = np.where(summer, 0, np.where(winter, 1, 2))
    values: FloatArray = table[season, _weekday(days), quarters % QUARTERS_PER_DAY]
    return values


def _bdew_table(name: str) -> FloatArray:
    """The profile in kW, shape (season, weekday, quarter hour); seasons as in `SEASONS`.

    Read from demandlib's own table. Its class `ElecSlp` is not used: it takes a second of
    imports, and turns warnings into errors, so that it stops at the deprecations of pandas 3.1.
    """
    spec = importlib.util.find_spec("demandlib")  # finds the package without importing it
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(folders[0] if folders else "demandlib", "bdew", "bdew_data", "selp_series.csv")
    table = np.full((len(SEASONS), 7, QUARTERS_PER_DAY), np.nan)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for index, row in enumerate(csv.DictReader(file)):
                season, weekday = SEASONS.index(row["period"]), int(row["weekday"]) - 1
                table[season, weekday, index % QUARTERS_PER_DAY] = float(row[name])
        if np.isnan(table).any():
            raise ValueError("incomplete")
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise UsageError(
            f"the load profile {name!r} cannot be read from demandlib's selp_series.csv "
            f"({error}); install demandlib 0.2.2"
        ) from error
    return table
