"""Synthetic weather: sun from geometry; cloud, wind and temperature from autoregressive models.

Every model is evaluated in the middle of steps of at most five minutes and averaged over the tick,
so its statistics do not depend on the tick length, and ticks that are multiples of five minutes
see the same weather. Each column is computed alone and step by step from the start: its values
depend neither on the number of columns nor on the length of the run.

Stochastic part. Each quantity has a standard normal latent process

    z = sqrt(share) * regional + sqrt(1 - share) * local

of two first-order autoregressive processes: `regional` is one for all columns (the weather
system), `local` is the column's own; fluctuations of minutes to hours are nearly independent
between neighbouring sites while those of days are shared (Perez et al., Solar Energy 86, 2012,
2170-2176). z is mapped to the physical quantity through its distribution function, as Graham and
Hollands (Solar Energy 44, 1990, 333-341) do for radiation and HOMER Pro ("Generating Synthetic
Wind Data") for wind. Cloud, wind and temperature are independent of each other: a simplification.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarm.scenario.schema import Site

FloatArray = NDArray[np.float64]
Transform = Callable[[FloatArray], FloatArray]

MAX_STEP_MINUTES = 5
SECONDS_PER_DAY = 86_400
DAYS_PER_YEAR = 365.2425


@dataclass(frozen=True)
class Timeline:
    """The ticks of a run and the finer steps the models are evaluated at."""

    start_s: float  # Unix time of the first tick's start
    utc_offset_s: float  # of the run's local clock, the same throughout (no daylight saving)
    tick_minutes: int
    ticks: int

    @property
    def steps_per_tick(self) -> int:
        """Steps in a tick: as few as keep a step at or under `MAX_STEP_MINUTES`."""
        return -(-self.tick_minutes // MAX_STEP_MINUTES)

    @property
    def step_s(self) -> float:
        """Length of a step in seconds."""
        return self.tick_minutes * 60 / self.steps_per_tick

    def middles_s(self) -> FloatArray:
        """Unix time of the middle of every step, shape (ticks * steps_per_tick,)."""
        steps = np.arange(self.ticks * self.steps_per_tick, dtype=np.float64)
        return self.start_s + (steps + 0.5) * self.step_s

    def tick_means(self, values: FloatArray) -> FloatArray:
        """Means over each tick, shape (ticks,), of values per step.

        Added up step by step: a library sum may pair terms differently for other shapes.
        """
        per_step = values.reshape(self.ticks, self.steps_per_tick)
        total = per_step[:, 0].copy()
        for step in range(1, self.steps_per_tick):
            total += per_step[:, step]
        return total / self.steps_per_tick


@dataclass(frozen=True)
class Persistence:
    """Variance share and time constants of the two parts of a latent process."""

    regional_share: float
    regional_hours: float
    local_hours: float


# Day to day, transformed clearness correlates with about 0.3 (Graham, Hollands and Unny, Solar
# Energy 40, 1988, 83-92): exp(-24/20). Hour to hour within a day 0.54 +- 0.14 (Graham and
# Hollands 1990, above): exp(-1/1.6).
CLOUD = Persistence(regional_share=0.5, regional_hours=20.0, local_hours=1.6)
# Hour to hour 0.89; HOMER Pro's default is 0.85.
WIND = Persistence(regional_share=0.7, regional_hours=24.0, local_hours=3.0)
# Day to day 0.7 in the regional part (lag-one model of Richardson, Water Resources Research 17,
# 1981, 182-190).
TEMPERATURE = Persistence(regional_share=0.9, regional_hours=67.0, local_hours=6.0)

# Transmittance of the clouds: from full overcast to clear. U-shaped, since short-term skies are
# mostly either clear or overcast (Suehrcke and McCormick, Solar Energy 40, 1988, 397-412;
# Skartveit and Olseth, Solar Energy 49, 1992, 63-72). The mean is
# 0.15 + 0.85 * Phi(bias / sqrt(1 + contrast^2)) = 0.62, as cloudy as Berlin, whatever the site: a
# sunny one such as Adelaide comes out about a fifth low.
CLOUD_FLOOR = 0.15
CLOUD_BIAS = 0.24
CLOUD_CONTRAST = 1.5

# Weibull shape 2 is the usual assumption (IEC 61400-1; HOMER Pro's default, as is the hour of
# peak wind); 7.5 m/s at hub height is the mean of IEC wind class III.
WIND_MEAN_M_PER_S = 7.5
WIND_SHAPE = 2.0
WIND_DIURNAL_SHARE = 0.10
WIND_PEAK_HOUR = 15.0
WIND_SEASONAL_SHARE = 0.15  # times sin |latitude|; windiest in mid-winter

CUT_IN_M_PER_S = 3.0
RATED_M_PER_S = 12.0
CUT_OUT_M_PER_S = 25.0
SPEED_SPREAD_M_PER_S = 1.0  # between the turbines of a farm and within an interval

TEMPERATURE_DEVIATION_C = 3.0
TEMPERATURE_DIURNAL_C = 4.0
TEMPERATURE_PEAK_HOUR = 15.0
LAPSE_C_PER_M = 0.0065  # ISO 2533 standard atmosphere

# PVWatts version 5 (Dobos, NREL/TP-6A20-62641, 2014) with its premium modules and its inverter; 1.2
# kW of modules per kW of inverter is the present default of its web edition.
DC_AC_RATIO = 1.2
INVERTER_EFFICIENCY = 0.96
POWER_TEMPERATURE_PER_C = -0.0035
ALBEDO = 0.2


def ar1(
    seed: int, stream: str, index: int, *, steps: int, step_s: float, time_constant_hours: float
) -> FloatArray:
    """A stationary standard normal AR(1) process, shape (steps,).

    Its autocorrelation at lag t is exp(-t / time constant). Drawn from Philox under a key of
    (seed, stream, index); the first k values do not depend on `steps`.
    """
    from scipy.signal import lfilter

    digest = hashlib.sha256(f"{seed}/{stream}/{index}".encode()).digest()
    key = int.from_bytes(digest[:16], "little")
    noise = np.random.Generator(np.random.Philox(key=key)).standard_normal(steps)
    decay = step_s / (time_constant_hours * 3600)
    noise[1:] *= math.sqrt(-math.expm1(-2 * decay))  # the first value is stationary already
    values: FloatArray = lfilter([1.0], [1.0, -math.exp(-decay)], noise)
    return values


def latent_columns(
    seed: int, stream: str, persistence: Persistence, timeline: Timeline, columns: int
) -> Iterator[FloatArray]:
    """The latent process of one column after the other, shape (ticks * steps_per_tick,) each."""
    steps, step_s = timeline.ticks * timeline.steps_per_tick, timeline.step_s

    def process(part: str, index: int, hours: float) -> FloatArray:
        return ar1(
            seed, f"{stream}/{part}", index, steps=steps, step_s=step_s, time_constant_hours=hours
        )

    regional = math.sqrt(persistence.regional_share) * process(
        "regional", 0, persistence.regional_hours
    )
    weight = math.sqrt(1 - persistence.regional_share)
    for column in range(columns):
        yield regional + weight * process("local", column, persistence.local_hours)


def solar(seed: int, site: Site, timeline: Timeline, columns: int) -> FloatArray:
    """Availability of solar plants, share of their AC capacity, shape (ticks, columns)."""
    clear = clear_sky_availability(site, timeline.middles_s())
    latent = latent_columns(seed, "solar", CLOUD, timeline, columns)
    return _columns(timeline, columns, latent, lambda z: clear * cloud_transmittance(z))


def wind(seed: int, site: Site, timeline: Timeline, columns: int) -> FloatArray:
    """Availability of wind farms, share of their capacity, shape (ticks, columns)."""
    cycle = wind_cycle(site, timeline.middles_s())
    latent = latent_columns(seed, "wind", WIND, timeline, columns)
    return _columns(timeline, columns, latent, lambda z: farm_power(cycle * weibull_speed(z)))


def temperature(seed: int, site: Site, timeline: Timeline, columns: int) -> FloatArray:
    """Air temperature in degrees Celsius, shape (ticks, columns)."""
    usual = usual_temperature(site, timeline.middles_s())
    latent = latent_columns(seed, "temperature", TEMPERATURE, timeline, columns)
    return _columns(timeline, columns, latent, lambda z: usual + TEMPERATURE_DEVIATION_C * z)


def _columns(
    timeline: Timeline, columns: int, latent: Iterator[FloatArray], transform: Transform
) -> FloatArray:
    """Transformed tick means; one column at a time, so that working memory stays one column."""
    out = np.empty((timeline.ticks, columns))
    for column, z in enumerate(latent):
        out[:, column] = timeline.tick_means(transform(z))
    return out


def plane(site: Site) -> tuple[float, float]:
    """Tilt and azimuth of the modules in degrees; azimuth 180 is south.

    They face the equator at about the yearly best tilt for the latitude: Landau's rule ("Optimum
    Tilt of Solar Panels"), 40 degrees beyond its range, as Renewables.ninja takes it.
    """
    latitude = abs(site.latitude)
    tilt = 0.87 * latitude if latitude <= 25 else min(3.1 + 0.76 * latitude, 40.0)
    return tilt, 180.0 if site.latitude >= 0 else 0.0


def clear_sky_availability(site: Site, unix_s: FloatArray) -> FloatArray:
    """What a photovoltaic plant makes under a cloudless sky, share of AC capacity, 0..1.

    Sun: NREL SPA. Sky: simplified Solis (Ineichen, Solar Energy 82, 2008, 758-762) with 0.1
    aerosol optical depth and 1 cm of water. Plane: Hay and Davies, modules as in `plane`. Module
    temperature: Faiman (IEC 61853-2) at 1 m/s in the usual air temperature. Power: PVWatts with
    its default losses (14 %).
    """
    from pvlib import atmosphere, iam, inverter, irradiance, pvsystem, spa
    from pvlib import clearsky as sky
    from pvlib import temperature as module

    pressure_pa = atmosphere.alt2pres(site.altitude_m)
    # The faster `solarposition.ephemeris` iterates until its worst value has converged: its
    # values would depend on the length of the run.
    zenith, _, elevation, _, azimuth, _ = spa.solar_position(
        unix_s,
        site.latitude,
        site.longitude,
        site.altitude_m,
        pressure_pa / 100,
        temp=12.0,
        delta_t=67.0,
        atmos_refract=0.5667,
    )  # zenith and elevation as seen, with refraction
    extra = irradiance.get_extra_radiation(_day_of_year(unix_s))
    clear = sky.simplified_solis(elevation, pressure=pressure_pa, dni_extra=extra)
    tilt, facing = plane(site)
    total = irradiance.get_total_irradiance(
        tilt,
        facing,
        zenith,
        azimuth,
        clear["dni"],
        clear["ghi"],
        clear["dhi"],
        dni_extra=extra,
        albedo=ALBEDO,
        model="haydavies",
    )
    beam = total["poa_direct"] * iam.physical(irradiance.aoi(tilt, facing, zenith, azimuth))
    cell_c = module.faiman(total["poa_global"], usual_temperature(site, unix_s))
    dc = pvsystem.pvwatts_dc(
        beam + total["poa_diffuse"], cell_c, DC_AC_RATIO, POWER_TEMPERATURE_PER_C
    )
    dc *= 1 - pvsystem.pvwatts_losses() / 100
    ac = inverter.pvwatts(dc, 1 / INVERTER_EFFICIENCY, INVERTER_EFFICIENCY)
    return np.where(elevation > 0, ac, 0.0)


def clear_sky(site: Site, timeline: Timeline) -> FloatArray:
    """Mean of `clear_sky_availability` over each tick, shape (ticks,)."""
    return timeline.tick_means(clear_sky_availability(site, timeline.middles_s()))


def cloud_transmittance(z: FloatArray) -> FloatArray:
    """Clear-sky index of a standard normal `z`: from `CLOUD_FLOOR` to 1, rising in z."""
    from scipy.special import ndtr

    share: FloatArray = ndtr(CLOUD_BIAS + CLOUD_CONTRAST * z)
    return CLOUD_FLOOR + (1 - CLOUD_FLOOR) * share


def weibull_speed(z: FloatArray) -> FloatArray:
    """Wind speed in m/s with a Weibull distribution of a standard normal `z`, rising in z."""
    from scipy.special import log_ndtr

    scale = WIND_MEAN_M_PER_S / math.gamma(1 + 1 / WIND_SHAPE)
    speed: FloatArray = scale * (-log_ndtr(-z)) ** (1 / WIND_SHAPE)
    return speed


def wind_cycle(site: Site, unix_s: FloatArray) -> FloatArray:
    """Yearly times daily cycle of the wind speed around 1, no unit."""
    yearly = WIND_SEASONAL_SHARE * math.sin(math.radians(abs(site.latitude)))
    daily = np.cos(2 * np.pi * (_solar_hour(site, unix_s) - WIND_PEAK_HOUR) / 24)
    return (1 - yearly * _summer(site, unix_s)) * (1 + WIND_DIURNAL_SHARE * daily)


def farm_power(speed_m_per_s: FloatArray) -> FloatArray:
    """Output of a wind farm over its capacity, 0..1.

    One turbine: nothing below cut-in and above cut-out, growth with the cube of the speed between
    cut-in and rated. The farm: that curve smoothed over the spread of speeds between its turbines,
    the multi-turbine approach of Norgaard and Holttinen (Nordic Wind Power Conference 2004).
    """
    speeds = np.linspace(0.0, 40.0, 401)
    offsets = np.linspace(-2.95, 2.95, 60)  # between the speeds: no sum meets cut-out exactly
    weights = np.exp(-0.5 * offsets**2)
    farm = np.zeros_like(speeds)
    for offset, weight in zip(offsets, weights / weights.sum(), strict=True):
        speed = speeds + SPEED_SPREAD_M_PER_S * offset
        cube = (speed**3 - CUT_IN_M_PER_S**3) / (RATED_M_PER_S**3 - CUT_IN_M_PER_S**3)
        farm += weight * np.where(speed <= CUT_OUT_M_PER_S, np.clip(cube, 0.0, 1.0), 0.0)
    return np.interp(speed_m_per_s, speeds, np.minimum(farm, 1.0))  # the sum may round above 1


def usual_temperature(site: Site, unix_s: FloatArray) -> FloatArray:
    """Yearly and daily cycle of the air temperature, degrees Celsius.

    Round figures for the continents: yearly mean 27 - 27 sin^2(latitude) less the standard
    atmosphere's lapse, yearly amplitude 0.2 K per degree of latitude (Berlin 10 +- 10, Adelaide
    18 +- 7), daily amplitude 4 K with its peak at 15 h solar time.
    """
    mean = 27 - 27 * math.sin(math.radians(site.latitude)) ** 2 - LAPSE_C_PER_M * site.altitude_m
    yearly = 0.2 * abs(site.latitude) * _summer(site, unix_s)
    daily = np.cos(2 * np.pi * (_solar_hour(site, unix_s) - TEMPERATURE_PEAK_HOUR) / 24)
    return mean + yearly + TEMPERATURE_DIURNAL_C * daily


def _solar_hour(site: Site, unix_s: FloatArray) -> FloatArray:
    """Local mean solar time in hours; 24 and more stand for later days."""
    return unix_s / 3600 + site.longitude / 15


def _summer(site: Site, unix_s: FloatArray) -> FloatArray:
    """+1 on the usually hottest day (20 July in the north, half a year later in the south), -1..1.

    Counted from 20 July 2000 in mean years: no jump at New Year or in leap years.
    """
    years = (unix_s / SECONDS_PER_DAY - 11_158) / DAYS_PER_YEAR
    return np.cos(2 * np.pi * years) * (1 if site.latitude >= 0 else -1)


def _day_of_year(unix_s: FloatArray) -> FloatArray:
    """Day of the year in UTC, 1..366."""
    days = np.floor(unix_s / SECONDS_PER_DAY).astype(np.int64).astype("datetime64[D]")
    first = days.astype("datetime64[Y]").astype("datetime64[D]")
    number: FloatArray = (days - first).astype(np.float64) + 1
    return number
