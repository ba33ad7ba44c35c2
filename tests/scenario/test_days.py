"""The split of days and seeds: what trains never meets what tests."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.scenario.days import (
    FIRST_TRAINING_SEED,
    FIRST_VALIDATION_SEED,
    NEM_SPANS,
    days_of,
    held_out_days,
    nem_split_of,
    nem_windows,
    split_of,
    split_of_seed,
    training_day,
    training_seed,
)

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("day", "split"),
    [
        # By a calendar with ISO week numbers.
        (date(2025, 2, 16), "validation"),  # Sunday of week 7
        (date(2025, 2, 17), "test"),  # Monday of week 8
        (date(2025, 2, 23), "test"),
        (date(2025, 2, 24), "validation"),
        (date(2025, 3, 3), "train"),  # week 10
        (date(2025, 6, 18), "validation"),  # week 25, after test week 24
        (date(2024, 12, 30), "validation"),  # week 1 of 2025
        (date(2020, 12, 31), "train"),  # week 53
        (date(2020, 7, 16), "train"),
    ],
)
def test_a_day_goes_by_its_iso_week(day: date, split: str) -> None:
    assert split_of(day) == split


@given(st.dates(date(1990, 1, 1), date(2099, 12, 31)))
def test_no_test_day_borders_a_training_day(day: date) -> None:
    if split_of(day) == "test":
        assert "train" not in (split_of(day - DAY), split_of(day + DAY))


@pytest.mark.parametrize("year", [2020, 2024, 2025, 2026])
def test_a_year_is_split_without_rest(year: int) -> None:
    parts = [days_of("train", year), days_of("validation", year), days_of("test", year)]
    every = sorted(day for part in parts for day in part)
    assert every[0] == date(year, 1, 1)
    assert every[-1] == date(year, 12, 31)
    assert all(later - before == DAY for before, later in pairwise(every))
    assert len(parts[2]) == 42
    assert {day.weekday() for day in parts[2]} == set(range(7))


def test_held_out_days_are_test_days_of_all_seasons() -> None:
    days = held_out_days(2025)
    assert len(set(days)) == 10
    assert list(days) == sorted(days)
    assert all(split_of(day) == "test" for day in days)
    assert {(day.month % 12) // 3 for day in days} == {0, 1, 2, 3}
    assert {day.weekday() >= 5 for day in days} == {True, False}
    pairs = held_out_days(2025, 6, length=2)
    assert all(split_of(day) == split_of(day + DAY) == "test" for day in pairs)
    with pytest.raises(UsageError, match="43 held-out days of 2025: expected 1 to 42"):
        held_out_days(2025, 43)
    with pytest.raises(UsageError, match="0 held-out days"):
        held_out_days(2025, 0)


def test_training_seeds_are_apart_from_all_others() -> None:
    drawn = {
        training_seed(seed, episode, world)
        for seed in (0, 1, 2**62)
        for episode in range(40)
        for world in range(4)
    }
    assert len(drawn) == 3 * 40 * 4
    assert all(split_of_seed(seed) == "train" for seed in drawn)
    assert max(drawn) < 2**63
    assert training_seed(3, 1, 2) == training_seed(3, 1, 2)
    assert split_of_seed(0) == split_of_seed(FIRST_VALIDATION_SEED - 1) == "test"
    assert split_of_seed(FIRST_VALIDATION_SEED) == "validation"
    assert split_of_seed(FIRST_TRAINING_SEED - 1) == "validation"
    assert split_of_seed(FIRST_TRAINING_SEED) == "train"


def test_training_days_cover_the_training_days_alone() -> None:
    drawn = {training_day(0, episode, world, 2025) for episode in range(500) for world in range(4)}
    assert drawn == set(days_of("train", 2025))


def test_market_windows_of_the_tests_come_after_all_others() -> None:
    parts = {split: nem_windows(split) for split in ("train", "validation", "test")}
    tested = parts["test"]
    assert {window.region for window in tested} == {"sa1"}
    assert len(tested) == 5
    first = min(window.day for window in tested)
    for split in ("train", "validation"):
        assert {window.region for window in parts[split]} == {"nsw1", "sa1"}
        assert all(window.day + 2 * DAY <= first - DAY for window in parts[split])
    # New South Wales on the dates of the tests is not used.
    assert nem_split_of("nsw1", first) is None
    with pytest.raises(UsageError, match=r"region 'vic1': expected one of nsw1, sa1"):
        nem_split_of("vic1", first)


def test_market_windows_lie_in_spans_and_do_not_overlap() -> None:
    whole = {first + k * DAY for first, days in NEM_SPANS for k in range(days)}
    for days in (1, 2, 3):
        for split in ("train", "validation", "test"):
            seen: set[tuple[str, date]] = set()
            for window in nem_windows(split, days):
                used = {(window.region, window.day + k * DAY) for k in range(days)}
                assert not used & seen
                assert {day for _, day in used} <= whole
                seen |= used
    assert nem_windows("test")[0].start.isoformat() == "2024-08-30T00:00:00+10:00"
