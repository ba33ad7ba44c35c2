"""Forecasters: exact where the weather follows the method, honest about their error elsewhere."""

from __future__ import annotations

import csv
import pickle
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.agents.forecaster import (
    ERROR_HOURS,
    QUANTITIES,
    Forecaster,
    Published,
    published,
    sizes_mw,
)
from swarm.scenario.schema import Site
from swarm.world import weather
from swarm.world.weather import FloatArray, Timeline

from .helpers import Bench, roster

HOURS = 1 / 12
AEMO = Path(__file__).resolve().parents[2] / "../shared/data/aemo_nem"


def follow(
    method: Any, series: dict[str, FloatArray], hours: float = HOURS
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Forecasts and stated errors of every interval, role -> (ticks, n), for series (ticks, n)."""
    ticks, n = next(iter(series.values())).shape
    forecaster = Forecaster(method, n, hours)
    expected, error = [], []
    for tick in range(ticks):
        now = {role: values[tick] for role, values in series.items()}
        expected.append(forecaster.expect(now))
        error.append(forecaster.error())
        forecaster.learn(now)
    roles = expected[0].keys()
    return (
        {role: np.array([each[role] for each in expected]) for role in roles},
        {role: np.array([each[role] for each in error]) for role in roles},
    )


def sunny(sun: FloatArray, clear: FloatArray) -> dict[str, FloatArray]:
    """The series of a solar shard: columns of sun under one clear sky."""
    return {"availability": sun, "clear_sky": np.repeat(clear[:, None], sun.shape[1], axis=1)}


def timeline(start: str, days: int, tick_minutes: int) -> Timeline:
    begin = datetime.fromisoformat(start).timestamp()
    return Timeline(begin, 0.0, tick_minutes, days * 1440 // tick_minutes)


def rmse(expected: FloatArray, actual: FloatArray) -> float:
    """Root mean square error, without the first interval, which nobody forecasts."""
    return float(np.sqrt(np.mean((expected[1:] - actual[1:]) ** 2)))


def skill(sun: FloatArray, clear: FloatArray, hours: float) -> float:
    """1 less the ratio of the errors of clear_sky and persistence."""
    errors = [
        rmse(follow(method, sunny(sun, clear), hours)[0]["availability"], sun)
        for method in ("clear_sky", "persistence")
    ]
    return 1 - errors[0] / errors[1]


# --- what is expected ----------------------------------------------------------------------------


def test_a_constant_load_has_no_error() -> None:
    load = np.full((50, 3), [0.2, 0.7, 1.3])
    for method in ("persistence", "clear_sky"):
        expected, error = follow(method, {"load": load})
        np.testing.assert_array_equal(expected["load"], load)
        assert np.isnan(error["load"][:2]).all()
        assert (error["load"][2:] == 0).all()


def test_a_perfect_forecast_is_what_happens_and_states_no_error() -> None:
    load = np.random.default_rng(1).random((30, 2))
    expected, error = follow("perfect", {"load": load})
    np.testing.assert_array_equal(expected["load"], load)
    assert (error["load"] == 0).all()


@pytest.mark.parametrize("method", ["persistence", "clear_sky"])
def test_load_and_wind_repeat_the_last_interval_and_the_first_is_known(method: str) -> None:
    random = np.random.default_rng(1).random
    series = {"load": random((30, 2)), "availability": random((30, 2))}
    expected, _ = follow(method, series)
    assert sorted(expected) == ["availability", "load"]
    for role, values in series.items():
        np.testing.assert_array_equal(expected[role][1:], values[:-1])
        np.testing.assert_array_equal(expected[role][0], values[0])


@pytest.mark.parametrize("tick_minutes", [5, 30, 60])
def test_a_cloudless_day_is_known_to_clear_sky_and_not_to_persistence(tick_minutes: int) -> None:
    clear = weather.clear_sky(Site(), timeline("2025-06-18T00:00+01:00", 1, tick_minutes))
    day = sunny(clear[:, None], clear)
    expected, error = follow("clear_sky", day, tick_minutes / 60)
    np.testing.assert_allclose(expected["availability"][:, 0], clear, rtol=0, atol=1e-9)
    assert np.nanmax(error["availability"]) < 1e-9
    by_persistence, _ = follow("persistence", day, tick_minutes / 60)
    assert rmse(by_persistence["availability"], day["availability"]) > 0.005


@pytest.mark.parametrize("index", [0.15, 0.6, 1.1])
def test_a_steady_haze_is_known_from_the_second_morning_on(index: float) -> None:
    """The index of the evening stands over the night: dawn is forecast with it."""
    clear = weather.clear_sky(Site(), timeline("2025-06-18T00:00+01:00", 2, 5))
    expected, _ = follow("clear_sky", sunny(index * clear[:, None], clear))
    second = slice(288, None)
    np.testing.assert_allclose(
        expected["availability"][second, 0], index * clear[second], rtol=0, atol=1e-9
    )


def test_a_low_sun_gives_no_index_and_a_high_ratio_is_cut() -> None:
    """Values by hand: below 0.05 the old index stands, above 1.2 it is cut."""
    clear = np.array([0.0, 0.04, 0.10, 0.20, 0.30, 0.04, 0.01])
    sun = np.array([0.0, 0.02, 0.30, 0.50, 0.15, 0.01, 0.00])
    expected, _ = follow("clear_sky", sunny(sun[:, None], clear))
    by_hand = [
        0.0,
        0.0 + 1.0 * 0.04,  # no index before the sun is up: the clear sky
        0.02 + 1.0 * 0.06,  # 0.02 / 0.04 is not taken
        0.30 + 1.2 * 0.10,  # 0.30 / 0.10 is cut at 1.2
        0.50 + 1.2 * 0.10,
        0.15 - 0.5 * 0.26,
        0.0,  # 0.01 - 0.5 * 0.03 would be below zero
    ]
    np.testing.assert_allclose(expected["availability"][:, 0], by_hand, rtol=1e-12)


# --- the stated error ----------------------------------------------------------------------------


def test_the_error_of_a_step_decays_with_the_stated_time_constant() -> None:
    """A step of h, j intervals ago of n forecast: h^2 d^j (1 - d) / (1 - d^n), a geometric sum."""
    step, height = 10, 0.4
    load = np.where(np.arange(400) < step, 0.5, 0.5 + height)[:, None]
    _, error = follow("persistence", {"load": load})
    decay = np.exp(-HOURS / ERROR_HOURS)
    for tick in (step + 1, step + 2, 100, 399):
        since, learnt = tick - step - 1, tick - 1
        mean = height**2 * decay**since * (1 - decay) / (1 - decay**learnt)
        assert error["load"][tick, 0] == pytest.approx(np.sqrt(mean), rel=1e-9)
    assert (error["load"][2 : step + 1] == 0).all()


def test_the_error_is_the_weighted_mean_of_all_errors_so_far() -> None:
    load = np.random.default_rng(3).random((60, 2))
    expected, error = follow("persistence", {"load": load}, hours=1.0)
    for tick in (2, 5, 59):
        age = np.arange(tick - 2, -1, -1)
        squares = (expected["load"][1:tick] - load[1:tick]) ** 2
        mean = np.average(squares, axis=0, weights=np.exp(-age / ERROR_HOURS))
        np.testing.assert_allclose(error["load"][tick], np.sqrt(mean), rtol=1e-12)


def test_nights_neither_count_nor_have_an_error() -> None:
    clear = np.concatenate([np.full(30, 0.5), np.zeros(200), np.full(30, 0.5)])
    sun = clear * np.random.default_rng(4).random(260)
    _, error = follow("clear_sky", sunny(sun[:, None], clear))
    stated = error["availability"][:, 0]
    assert (stated[31:230] == 0).all()
    # Under an even sky the forecast is the last value; at dawn the errors of the day before count.
    weights = np.exp(-np.arange(28, -1, -1) * HOURS / ERROR_HOURS)
    mean = np.average(np.diff(sun[:30]) ** 2, weights=weights)
    assert stated[230] == pytest.approx(np.sqrt(mean), rel=1e-9)


def test_sun_in_the_dark_is_an_error() -> None:
    clear = np.zeros(4)
    sun = np.array([0.0, 0.0, 0.3, 0.0])
    _, error = follow("clear_sky", sunny(sun[:, None], clear))
    assert np.nanmax(error["availability"]) == pytest.approx(0.3)


@pytest.mark.parametrize("tick_minutes", [5, 60])
def test_the_stated_error_is_right_by_day_on_the_built_in_weather(tick_minutes: int) -> None:
    line = timeline("2025-06-18T00:00+01:00", 20, tick_minutes)
    sun, clear = weather.solar(1, Site(), line, 4), weather.clear_sky(Site(), line)
    expected, error = follow("clear_sky", sunny(sun, clear), tick_minutes / 60)
    day = clear > 0
    day[: 1440 // tick_minutes] = False
    made = np.mean((expected["availability"] - sun)[day] ** 2)
    stated = np.mean(error["availability"][day] ** 2)
    assert np.sqrt(made / stated) == pytest.approx(1.0, abs=0.1)


# --- skill ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "tick_minutes", "least"),
    [
        ("2025-06-18T00:00+01:00", 5, 0.01),
        ("2025-06-18T00:00+01:00", 60, 0.2),
        ("2025-12-10T00:00+01:00", 5, 0.02),
        ("2025-12-10T00:00+01:00", 60, 0.3),
    ],
)
def test_clear_sky_beats_persistence_on_the_built_in_weather(
    start: str, tick_minutes: int, least: float
) -> None:
    line = timeline(start, 20, tick_minutes)
    sun, clear = weather.solar(1, Site(), line, 4), weather.clear_sky(Site(), line)
    assert skill(sun, clear, tick_minutes / 60) > least


@pytest.mark.skipif(not AEMO.is_dir(), reason="needs ../shared/data/aemo_nem")
@pytest.mark.parametrize(
    ("region", "latitude", "longitude", "least"),
    [("sa1", -33.5, 138.5, 0.02), ("nsw1", -32.5, 148.5, 0.1)],
)
def test_clear_sky_beats_persistence_on_measured_solar(
    region: str, latitude: float, longitude: float, least: float
) -> None:
    """All windows of 2024; panels there follow the sun, the clear sky is that of fixed ones."""
    with (AEMO / f"{region}_5min.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["solar_available_mw"]]
    begins = np.array([datetime.fromisoformat(r["interval_end"]).timestamp() for r in rows]) - 300
    power = np.array([float(r["solar_available_mw"]) for r in rows])
    gaps = np.flatnonzero(np.diff(begins) != 300) + 1
    squares = {"clear_sky": 0.0, "persistence": 0.0}
    site = Site(latitude=latitude, longitude=longitude)
    for begin, window in zip(
        np.split(begins, gaps), np.split(power / power.max(), gaps), strict=True
    ):
        clear = weather.clear_sky(site, Timeline(begin[0], 0.0, 5, len(begin)))
        sun = window[:, None]
        for method in squares:
            expected, _ = follow(method, sunny(sun, clear))
            squares[method] += float(np.sum((expected["availability"][1:] - sun[1:]) ** 2))
    assert 1 - np.sqrt(squares["clear_sky"] / squares["persistence"]) > least


# --- cutting, state and bad input ----------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 6), seed=st.integers(0, 1000))
def test_a_shard_cut_in_two_forecasts_and_publishes_the_same(cut: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    clear = np.maximum(0, np.sin(np.arange(60) / 9))
    series = sunny(clear[:, None] * random.random((60, 7)), clear)
    series["load"] = random.random((60, 7))
    whole = follow("clear_sky", series)
    parts = [
        follow("clear_sky", {role: values[:, part] for role, values in series.items()})
        for part in (slice(0, cut), slice(cut, None))
    ]
    homes = [{"load_mw": float(a), "solar_mw": float(b)} for a, b in random.random((7, 2))]
    sums = []
    for index, of in enumerate([whole, *parts]):
        part = (slice(None), slice(0, cut), slice(cut, None))[index]
        size = sizes_mw(roster("home", homes[part]))
        last = ({role: values[-1] for role, values in each.items()} for each in of)
        sums.append(published("home", *last, size))
    for role in ("load", "availability"):
        for kind in (0, 1):
            joined = np.concatenate([part[kind][role] for part in parts], axis=1)
            assert joined.tobytes() == whole[kind][role].tobytes()
    for name in ("expected_w", "error_w", "unknown"):
        total, left, right = (getattr(each, name) for each in sums)
        np.testing.assert_array_equal(left + right, total)


def test_a_forecaster_goes_on_from_a_copy_of_its_state() -> None:
    clear = np.maximum(0, np.sin(np.arange(80) / 9))
    sun = clear * np.random.default_rng(5).random(80)
    expected, error = follow("clear_sky", sunny(sun[:, None], clear))
    forecaster = Forecaster("clear_sky", 1, HOURS)
    for tick in range(80):
        now = {"availability": sun[tick : tick + 1], "clear_sky": clear[tick : tick + 1]}
        forecaster = pickle.loads(pickle.dumps(forecaster))
        made = forecaster.expect(now)["availability"]
        assert made.tobytes() == expected["availability"][tick].tobytes()
        forecaster = pickle.loads(pickle.dumps(forecaster))
        stated = forecaster.error()["availability"]
        np.testing.assert_array_equal(stated, error["availability"][tick])
        forecaster.learn(now)


def test_a_policy_that_writes_into_its_view_does_not_change_the_error() -> None:
    forecaster = Forecaster("persistence", 1, HOURS)
    for value in (0.5, 0.5, 0.5):
        forecaster.expect({"load": np.array([value])})["load"][:] = 99.0
        forecaster.learn({"load": np.array([value])})
    forecaster.expect({"load": np.array([0.5])})
    assert forecaster.error()["load"].tolist() == [0.0]


def test_a_shard_without_series_forecasts_nothing() -> None:
    forecaster = Forecaster("clear_sky", 4, HOURS)
    for _ in range(3):
        assert forecaster.expect({}) == {}
        assert forecaster.error() == {}
        forecaster.learn({})


def test_bad_input_is_refused() -> None:
    wrong: Any = "clearsky"
    with pytest.raises(ValueError, match="forecast 'clearsky': expected one of"):
        Forecaster(wrong, 1, HOURS)
    with pytest.raises(ValueError, match=r"tick_hours 0\.0: expected more than 0"):
        Forecaster("perfect", 1, 0.0)
    forecaster = Forecaster("persistence", 2, HOURS)
    with pytest.raises(ValueError, match=r"load: shape \(3,\), expected \(2,\)"):
        forecaster.expect({"load": np.ones(3)})
    forecaster.expect({"load": np.ones(2)})
    forecaster.learn({"load": np.ones(2)})
    with pytest.raises(ValueError, match="call expect first"):
        forecaster.learn({"load": np.ones(2)})
    with pytest.raises(ValueError, match=r"roles \['sun'\], expected \['load'\]"):
        forecaster.expect({"sun": np.ones(2)})


# --- what is published ---------------------------------------------------------------------------


def one(values: Published) -> list[list[int]]:
    return [values.expected_w.tolist(), values.error_w.tolist(), values.unknown.tolist()]


def test_published_sums_by_hand() -> None:
    homes = [{"load_mw": 0.003, "solar_mw": 0.005}, {"load_mw": 0.002, "solar_mw": 0.004}]
    size = sizes_mw(roster("home", homes))
    expected = {"load": np.array([0.5, 1.5]), "availability": np.array([0.2, 1.3])}
    error = {"load": np.array([0.1, 0.2]), "availability": np.array([0.05, np.nan])}
    assert QUANTITIES == ("load", "wind", "solar")
    assert one(published("home", expected, error, size)) == [
        [1500 + 3000, 0, 1000 + 4000],
        [300 + 400, 0, 250],
        [0, 0, 1],
    ]
    standing = np.array([False, True])
    assert one(published("home", expected, error, size, standing)) == [
        [1500 + 3000, 0, 1000],
        [300 + 400, 0, 250],
        [0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("kind", "asset", "role", "at"),
    [
        ("consumer", {"load_mw": 2.0, "flexible_mw": 0.0}, "load", 0),
        ("wind", {"capacity_mw": 2.0}, "availability", 1),
        ("solar", {"capacity_mw": 2.0}, "availability", 2),
    ],
)
def test_each_kind_publishes_its_own_quantity(
    kind: str, asset: dict[str, float], role: str, at: int
) -> None:
    size = sizes_mw(roster(kind, [asset] * 3))
    values = published(kind, {role: np.full(3, 0.25)}, {role: np.full(3, 0.1)}, size)
    assert values.expected_w.tolist() == [1_500_000 * (q == at) for q in range(3)]
    assert values.error_w.tolist() == [600_000 * (q == at) for q in range(3)]


@pytest.mark.parametrize("kind", ["storage", "ev", "generator"])
def test_kinds_without_load_wind_or_sun_publish_zeros(kind: str) -> None:
    size = sizes_mw(roster(kind, [{}] * 2))
    assert one(published(kind, {}, {}, size)) == [[0] * 3] * 3


@settings(max_examples=50, deadline=None)
@given(share=st.floats(-0.2, 1.3), capacity=st.floats(0, 800))
def test_what_is_published_is_what_is_offered(share: float, capacity: float) -> None:
    bench = Bench("solar", [{"capacity_mw": capacity}])
    _, offered = bench.offer([-1.0], bench.view({"availability": share}))
    forecast = {"availability": np.array([share])}
    size = sizes_mw(roster("solar", [{"capacity_mw": capacity}]))
    values = published("solar", forecast, {"availability": np.zeros(1)}, size)
    assert values.expected_w[2] == offered[0, 0]


def test_the_error_of_a_sum_is_at_most_the_sum_of_errors() -> None:
    """Persistence of a sum is the sum of persistences: one agent of the sum is the oracle."""
    random, size = np.random.default_rng(6), np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    for load in (random.random((200, 5)), random.random((200, 1)) * np.ones(5)):
        _, parts = follow("persistence", {"load": load})
        _, whole = follow("persistence", {"load": (load * size).sum(axis=1, keepdims=True)})
        ratio = (parts["load"][2:] * size).sum(axis=1) / whole["load"][2:, 0]
        assert ratio.min() >= 1 - 1e-9
    # The last load is one for all agents: their errors move alike and the bound is met.
    np.testing.assert_allclose(ratio, 1.0, rtol=1e-9)
