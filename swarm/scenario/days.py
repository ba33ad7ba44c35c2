"""Which days and seeds learn, which choose between settings, and which judge: the split, in code.

Calendar days go by their ISO week (ISO 8601): a week whose number divides by 8 is for tests, the
week before and the week after it are for validation, all others are for training. So no test day
borders a training day, whose weather would be much like its own; every part has whole weeks, and
the test weeks (8, 16, ... 48) are spread over the year. Real days that are neighbours share their
weather; built-in ones share it only where they share the seed, and they do not: seeds below
`FIRST_TRAINING_SEED` never train, those from it on are drawn for training alone.

Measured market days come in spans of a few days, and the regions of one market share their weather
and their scarcity. There the date decides (Bergmeir, Benitez, On the use of cross-validation for
time series predictor evaluation, Information Sciences 191, 2012): what is tested comes after all
that was learned from, and what other regions did on the test dates is not used at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Literal

from swarm.errors import UsageError
from swarm.rng import uniforms

Split = Literal["train", "validation", "test"]

WEEKS = 8
"""The rule repeats after this many ISO weeks."""
FIRST_VALIDATION_SEED = 100_000
"""Seeds below are for tests and for anything else that a user runs."""
FIRST_TRAINING_SEED = 1_000_000
"""Seeds from this one on are drawn for training; those between the two are for validation."""
HELD_OUT = 10
"""Held-out days that policies are compared on, unless told otherwise."""


def split_of(day: date) -> Split:
    """What a calendar day is for: test, validation or training."""
    week = day.isocalendar().week % WEEKS
    if week == 0:
        return "test"
    return "validation" if week in (1, WEEKS - 1) else "train"


def days_of(split: Split, year: int) -> tuple[date, ...]:
    """All days of a calendar year that are for `split`, in order."""
    first = date(year, 1, 1)
    days = (date(year + 1, 1, 1) - first).days
    return tuple(
        day for day in (first + timedelta(days=k) for k in range(days)) if split_of(day) == split
    )


def held_out_days(year: int, count: int = HELD_OUT, length: int = 1) -> tuple[date, ...]:
    """Test days spread evenly over a year: the middle day of each of `count` equal parts of them.

    Args:
        year: calendar year.
        count: how many.
        length: days of a run that starts there; all of them are test days.

    Raises:
        UsageError: fewer than one, or more than the year has.
    """
    test = days_of("test", year)
    days = [day for day in test if split_of(day + timedelta(days=length - 1)) == "test"]
    if not 1 <= count <= len(days):
        raise UsageError(f"{count} held-out days of {year}: expected 1 to {len(days)}")
    return tuple(days[(2 * part + 1) * len(days) // (2 * count)] for part in range(count))


def split_of_seed(seed: int) -> Split:
    """What worlds and agents drawn with a seed are for."""
    if seed < FIRST_VALIDATION_SEED:
        return "test"
    return "validation" if seed < FIRST_TRAINING_SEED else "train"


def training_seed(seed: int, episode: int, world: int) -> int:
    """Seed of one world of one episode, from `FIRST_TRAINING_SEED` to below 2^53 more than it.

    Args:
        seed: of the training.
        episode: from 0.
        world: from 0, of those that run side by side in an episode.
    """
    drawn = uniforms(seed, "training/world", episode, world, 1)[0, 0]
    return FIRST_TRAINING_SEED + int(drawn * 2**53)


def training_day(seed: int, episode: int, world: int, year: int) -> date:
    """Day of one world of one episode, each training day of `year` as likely; see `training_seed`.

    Args:
        seed: of the training.
        episode: from 0.
        world: from 0.
        year: calendar year.
    """
    days = days_of("train", year)
    drawn = uniforms(seed, "training/world", episode, world, 1)[0, 1]
    return days[int(drawn * len(days))]


@dataclass(frozen=True)
class Window:
    """Whole days without a gap in a file of measured prices.

    Attributes:
        region: `nsw1` or `sa1`.
        day: the first.
        days: how many.
    """

    region: str
    day: date
    days: int

    @property
    def start(self) -> datetime:
        """Start of its first tick, in market time (UTC+10 the whole year)."""
        return datetime(self.day.year, self.day.month, self.day.day, tzinfo=MARKET_TIME)


MARKET_TIME = timezone(timedelta(hours=10))
NEM_REGIONS = ("nsw1", "sa1")
NEM_TEST_REGION = "sa1"
NEM_FIRST_TEST_DAY = date(2024, 8, 15)
NEM_VALIDATION = (date(2024, 7, 1), date(2024, 7, 15))
"""The first day for validation, and the day after the last."""
NEM_SPANS = (
    (date(2018, 4, 1), 2),
    (date(2018, 4, 29), 4),
    (date(2018, 5, 30), 2),
    (date(2019, 12, 1), 2),
    (date(2019, 12, 30), 4),
    (date(2020, 1, 30), 2),
    (date(2024, 7, 1), 2),
    (date(2024, 7, 30), 4),
    (date(2024, 8, 30), 4),
    (date(2024, 9, 29), 2),
    (date(2024, 12, 1), 2),
    (date(2024, 12, 30), 2),
)
"""First day and number of whole days of each span in the files of both regions."""


def nem_split_of(region: str, day: date) -> Split | None:
    """What a day of a region of the Australian market is for; None: it is not used.

    South Australia from `NEM_FIRST_TEST_DAY` on is tested, and New South Wales not used there; the
    two weeks of `NEM_VALIDATION` are for validation, all before the tests besides for training.

    Raises:
        UsageError: another region.
    """
    if region not in NEM_REGIONS:
        raise UsageError(f"region {region!r}: expected one of {', '.join(NEM_REGIONS)}")
    if day >= NEM_FIRST_TEST_DAY:
        return "test" if region == NEM_TEST_REGION else None
    first, stop = NEM_VALIDATION
    return "validation" if first <= day < stop else "train"


def nem_windows(split: Split, days: int = 2) -> tuple[Window, ...]:
    """Windows of `days` days for `split`, side by side: none overlaps another of its region."""
    return tuple(
        Window(region, first + timedelta(days=offset), days)
        for region in NEM_REGIONS
        for first, whole in NEM_SPANS
        for offset in range(0, whole - days + 1, days)
        if nem_split_of(region, first + timedelta(days=offset)) == split
    )
