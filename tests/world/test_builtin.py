"""The built-in series: shapes, stability, clocks, and the load profiles against demandlib."""

from __future__ import annotations

import importlib.util
import warnings
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.scenario.schema import Site
from swarm.world import builtin
from swarm.world.builtin import BUILTIN_SERIES, builtin_series
from swarm.world.weather import FloatArray

CET = timezone(timedelta(hours=1))
PER_SITE = {"solar", "wind", "temperature"}
PLACED = PER_SITE | {"clear_sky", "spot_price"}
SEEDED = {"solar", "wind", "temperature", "daily_price", "spot_price"}
BDEW = ["h0", "g0", "g1", "g2", "g3", "g4", "g5", "g6", "l0"]


def make(names: Any = BUILTIN_SERIES, **changes: Any) -> dict[str, FloatArray]:
    arguments: dict[str, Any] = {
        "seed": 1,
        "site": Site(),
        "start": datetime(2025, 6, 18, tzinfo=CET),
        "tick_minutes": 5,
        "ticks": 300,
        "sites": 2,
        "cache": None,
    }
    return builtin_series(names, **(arguments | changes))


def one(name: str, **changes: Any) -> FloatArray:
    return make([name], **changes)[name]


# --- shapes and names ----------------------------------------------------------------------------


@pytest.mark.parametrize("tick_minutes", [1, 5, 7, 15, 60, 1440])
def test_shape_type_and_order(tick_minutes: int) -> None:
    series = make(tick_minutes=tick_minutes, ticks=11, sites=3)
    assert tuple(series) == BUILTIN_SERIES
    for name, values in series.items():
        assert values.shape == (11, 3 if name in PER_SITE else 1), name
        assert values.dtype == np.float64
        assert values.flags.c_contiguous
        assert values.flags.writeable
        assert np.isfinite(values).all()
        if name not in {"temperature", "spot_price"}:
            assert values.min() >= 0
        if name not in {"temperature", "daily_price", "spot_price"}:
            assert values.max() <= 1


def test_names_repeat_and_keep_their_order() -> None:
    assert list(make(["wind", "flat", "wind"])) == ["wind", "flat"]
    assert make([]) == {}
    assert (one("flat") == 1).all()


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'solr'.*did you mean 'solar'"):
        make(["wind", "solr"])
    with pytest.raises(UsageError, match=r"valid: clear_sky, daily_price"):
        make(["zzzzzz"])


@pytest.mark.parametrize(
    ("start", "ticks"), [(datetime(1850, 1, 1, tzinfo=UTC), 1), (datetime(2190, 1, 1), 10_000_000)]
)
def test_years_the_model_does_not_cover_are_refused(start: datetime, ticks: int) -> None:
    with pytest.raises(UsageError, match=r"covers 1900 to 2200.*'start' or 'ticks'"):
        make(["flat"], start=start.replace(tzinfo=UTC), ticks=ticks)


def test_start_needs_an_offset() -> None:
    with pytest.raises(ValueError, match="no UTC offset"):
        make(["flat"], start=datetime(2025, 1, 1))


def test_too_little_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> FloatArray:
        raise MemoryError

    monkeypatch.setitem(builtin.WEATHER, "wind", full)
    with pytest.raises(UsageError, match=r"8\.0 GB.*world\.sites"):
        make(["wind"], ticks=1_000_000, sites=1000)


# --- stability -----------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 130),
    st.integers(1, 40),
    st.sampled_from([1, 4, 5, 15, 25, 60, 360]),
    st.integers(1, 4),
)
def test_rows_and_columns_do_not_depend_on_how_many(
    ticks: int, more: int, tick_minutes: int, sites: int
) -> None:
    start = datetime(2024, 12, 31, 7, 5, tzinfo=CET)
    few = make(ticks=ticks, tick_minutes=tick_minutes, sites=sites, start=start)
    many = make(ticks=ticks + more, tick_minutes=tick_minutes, sites=sites + 3, start=start)
    for name, values in few.items():
        expected = many[name][:ticks, : values.shape[1]]
        assert values.tobytes() == expected.tobytes(), name


def test_a_repeat_gives_the_same_bytes() -> None:
    first, second = make(), make()
    assert all(first[name].tobytes() == second[name].tobytes() for name in BUILTIN_SERIES)


def test_only_weather_and_price_depend_on_the_seed() -> None:
    one_seed, other = make(seed=1), make(seed=2**63 - 1)
    for name in BUILTIN_SERIES:
        assert (one_seed[name].tobytes() != other[name].tobytes()) == (name in SEEDED), name


def test_columns_differ_from_each_other() -> None:
    for name in PER_SITE:
        values = one(name)
        assert (values[:, 0] != values[:, 1]).any(), name


def test_only_weather_depends_on_the_site() -> None:
    here, there = make(), make(site=Site(latitude=-34.9, longitude=138.6))
    for name in BUILTIN_SERIES:
        assert (here[name].tobytes() != there[name].tobytes()) == (name in PLACED), name


# --- clocks --------------------------------------------------------------------------------------


def test_weather_follows_the_sun_and_profiles_the_offset_of_the_start() -> None:
    """The same instants under two offsets: equal weather, profiles two hours apart."""
    cet = make(start=datetime(2025, 6, 18, 2, tzinfo=CET), tick_minutes=60, ticks=24)
    east = datetime(2025, 6, 18, 4, tzinfo=timezone(timedelta(hours=3)))
    local = make(start=east, tick_minutes=60, ticks=24)
    for name in BUILTIN_SERIES:
        if name in PLACED - {"spot_price"} or name == "flat":
            assert cet[name].tobytes() == local[name].tobytes(), name
        else:
            assert cet[name].tobytes() != local[name].tobytes(), name
    for name in (*BDEW, "factory"):
        np.testing.assert_allclose(cet[name][2:], local[name][:-2], rtol=1e-12)


def test_the_clock_ignores_daylight_saving() -> None:
    """Europe/Berlin puts its clocks forward on Sunday 30 March 2025; the run does not."""
    fixed = make(start=datetime(2025, 3, 29, tzinfo=CET), tick_minutes=60, ticks=96)
    zone = datetime(2025, 3, 29, tzinfo=ZoneInfo("Europe/Berlin"))
    zoned = make(start=zone, tick_minutes=60, ticks=96)
    assert all(fixed[name].tobytes() == zoned[name].tobytes() for name in BUILTIN_SERIES)
    work = fixed["factory"][:, 0]
    monday, tuesday = work[48:72], work[72:96]
    assert monday.tobytes() == tuesday.tobytes()
    assert list(np.flatnonzero(monday == 1)) == list(range(6, 22))


# --- load profiles -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demandlib_years() -> dict[int, Any]:
    """demandlib's own frames of a year and a leap year, 15 minutes, sums 1."""
    from demandlib import bdew

    def leave_warnings_alone(*_: Any, **__: Any) -> None:
        pass

    with pytest.MonkeyPatch.context() as patch:
        # demandlib turns warnings into errors, which stops it under pandas 3.1.
        patch.setattr(warnings, "simplefilter", leave_warnings_alone)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore")
            return {year: bdew.ElecSlp(year).get_profiles() for year in (2024, 2025)}


@pytest.mark.parametrize("year", [2024, 2025])
def test_quarter_hours_are_those_of_demandlib(year: int, demandlib_years: dict[int, Any]) -> None:
    frame = demandlib_years[year]
    series = make(
        BDEW, start=datetime(year, 1, 1, tzinfo=CET), tick_minutes=15, ticks=len(frame), sites=1
    )
    for name in BDEW:
        expected = frame[name].to_numpy()
        np.testing.assert_allclose(
            series[name][:, 0], expected / expected.max(), rtol=1e-9, err_msg=name
        )
        assert series[name].max() == 1
        # The total of demandlib is 1: full-load hours are those of its highest quarter hour.
        assert series[name].sum() / 4 == pytest.approx(0.25 / expected.max())


def test_a_run_over_new_year_joins_the_years(demandlib_years: dict[int, Any]) -> None:
    values = one("h0", start=datetime(2024, 12, 30, tzinfo=CET), tick_minutes=15, ticks=4 * 96)
    parts = [demandlib_years[2024]["h0"], demandlib_years[2025]["h0"]]
    old, new = (part.to_numpy() / part.max() for part in parts)
    np.testing.assert_allclose(values[:, 0], np.concatenate([old[-192:], new[:192]]), rtol=1e-9)


def test_household_and_business_shapes() -> None:
    """Known of the BDEW profiles: households peak on winter evenings and use more at weekends by
    day; weekday business (g1) is nearly idle then; g3 (continuous) is the flattest."""
    start = datetime(2025, 1, 6, tzinfo=CET)  # a Monday
    week = {name: one(name, start=start, tick_minutes=60, ticks=168)[:, 0] for name in BDEW}
    days = week["h0"].reshape(7, 24)
    assert all(17 <= day.argmax() <= 20 for day in days[:5])
    assert days[6, 12] > days[1, 12] * 1.15
    business = week["g1"].reshape(7, 24)
    assert business[6].sum() < 0.4 * business[1].sum()
    load_factors = {name: values.mean() / values.max() for name, values in week.items()}
    assert max(load_factors, key=lambda name: load_factors[name]) == "g3"
    july = one("h0", start=datetime(2025, 7, 7, tzinfo=CET), tick_minutes=60, ticks=168)[:, 0]
    summer_days = july.reshape(7, 24)
    assert days[1].max() > 1.1 * summer_days[1].max()  # winter evenings are higher,
    assert days[1].argmax() < summer_days[1].argmax()  # summer ones later


def test_coarser_ticks_are_means_of_quarter_hours() -> None:
    quarters = one("g5", tick_minutes=15, ticks=96)
    hours = one("g5", tick_minutes=60, ticks=24)
    np.testing.assert_allclose(hours, quarters.reshape(24, 4, 1).mean(axis=1), rtol=1e-12)
    # 00:05 to 00:20 holds ten minutes of the first quarter and five of the second.
    late = one("g5", start=datetime(2025, 6, 18, 0, 5, tzinfo=CET), tick_minutes=15, ticks=95)
    np.testing.assert_allclose(late, (2 * quarters[:-1] + quarters[1:]) / 3, rtol=1e-12)


def test_finer_ticks_join_the_middles_of_quarter_hours() -> None:
    quarters = one("h0", tick_minutes=15, ticks=96)[:, 0]
    fine = one("h0", tick_minutes=5, ticks=288)[:, 0]
    np.testing.assert_allclose(fine[1::3], quarters, rtol=1e-12)
    expected = (2 * quarters[:-1] + quarters[1:]) / 3  # five minutes after the middle
    np.testing.assert_allclose(fine[2:-1:3], expected, rtol=1e-12)


def test_a_demandlib_without_its_table_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: Spec)
    with pytest.raises(UsageError, match=r"'h0'.*install demandlib"):
        make(["h0"])
    folder = tmp_path / "bdew" / "bdew_data"
    folder.mkdir(parents=True)
    (folder / "selp_series.csv").write_text("period,weekday,h0\nsummer,1,0.5\n")
    with pytest.raises(UsageError, match="incomplete"):
        make(["h0"])


# --- factory and price ---------------------------------------------------------------------------


def test_factory_works_two_shifts_on_weekdays() -> None:
    start = datetime(2025, 6, 16, tzinfo=CET)  # a Monday
    week = one("factory", start=start, tick_minutes=60, ticks=168)[:, 0].reshape(7, 24)
    assert (week[:5, 6:22] == 1).all()
    assert week[5:] == pytest.approx(np.full((2, 24), 0.3))
    # Half an hour of the lost 0.7 on either side of the shifts.
    assert week.sum() == pytest.approx(168 * 0.3 + 0.7 * 5 * (16 + 0.5 + 0.5))


def test_daily_price_shape() -> None:
    weeks = 104
    start = datetime(2025, 1, 6, tzinfo=CET)  # a Monday
    price = one("daily_price", start=start, tick_minutes=60, ticks=weeks * 168)[:, 0]
    assert price.min() > 0
    assert price.mean() == pytest.approx(1, abs=0.01)
    by_day = price.reshape(weeks, 7, 24).mean(axis=0)
    assert by_day[:5].mean() > 1.1 * by_day[5:].mean()
    weekday = by_day[:5].mean(axis=0)
    assert weekday[7:10].max() > 1.15 * weekday[13]
    assert weekday[18:21].max() > 1.15 * weekday[7:10].max()
    assert weekday[13] < 1
    noise = price.reshape(weeks, 7, 24) / by_day
    assert 0.02 < noise.std() < 0.07
