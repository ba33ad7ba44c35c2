"""Days and seeds of a comparison, and which of them policies may have learned from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

from swarm.errors import UsageError
from swarm.scenario.days import (
    FIRST_TRAINING_SEED,
    FIRST_VALIDATION_SEED,
    held_out_days,
    split_of,
    split_of_seed,
)
from swarm.scenario.schema import Scenario

Days = Sequence[date] | Literal["own"] | None
"""Days to start at, `own` for the scenario's; None: held-out days, or its own where it has data."""
DaysAre = Literal["held-out", "own", "given"]


def notes_on_seeds(seeds: Sequence[int], learned: Sequence[str]) -> list[str]:
    """What one must know of seeds by which trainings choose among policies.

    Args:
        seeds: of the runs.
        learned: policies that were trained.

    Raises:
        UsageError: a seed that one of them may have learned with.
    """
    splits = {seed: split_of_seed(seed) for seed in seeds} if learned else {}
    for seed, split in splits.items():
        if split == "train":
            raise UsageError(
                f"--seeds: {learned[0]} may have learned with seed {seed}; expected seeds below "
                f"{FIRST_VALIDATION_SEED:,}"
            )
    chosen = [str(seed) for seed, split in splits.items() if split == "validation"]
    if not chosen:
        return []
    return [
        f"seeds {', '.join(chosen)}: trainings choose among policies by seeds from "
        f"{FIRST_VALIDATION_SEED:,} to {FIRST_TRAINING_SEED - 1:,}; {learned[0]} may look better "
        "on them than it is"
    ]


def starts_of(
    scenario: Scenario, days: Days, data: Path | None, count: int
) -> tuple[list[datetime], DaysAre]:
    """When runs start: on `count` held-out days, one for each seed, or on the days asked for.

    Args:
        scenario: whose clock time and UTC offset stay.
        days: asked for.
        data: real data of the scenario.
        count: seeds.

    Raises:
        UsageError: more seeds than the scenario's year has held-out days.
    """
    own = scenario.start
    if days == "own" or (days is None and data is not None):
        return [own], "own"
    are: DaysAre = "given"
    if days is None:
        try:
            days, are = held_out_days(own.year, count, _length_days(scenario)), "held-out"
        except UsageError as error:
            raise UsageError(
                f"--seeds: each of {count} seeds runs on a day of its own, but {error}; give fewer "
                "seeds, or days for all of them: --days own or dates"
            ) from None
    return [own.replace(year=day.year, month=day.month, day=day.day) for day in days], are


def not_held_out(
    scenario: Scenario, starts: Sequence[datetime], data: Path | None
) -> dict[str, str]:
    """Dates of starts of runs that trainings may use, and what for; empty: they use none of them.

    Args:
        scenario: for the length of a run.
        starts: of the runs.
        data: real data, on whatever day of which a training may have been started.
    """
    found = {}
    for start in starts:
        whole = [start.date() + timedelta(days=k) for k in range(_length_days(scenario))]
        uses = {split_of(day) for day in whole} - {"test"} if data is None else {"real data"}
        if uses:
            found[start.date().isoformat()] = " and ".join(sorted(uses))
    return found


def _length_days(scenario: Scenario) -> int:
    """Calendar days that a run touches."""
    last = scenario.start + timedelta(minutes=scenario.ticks * scenario.tick_minutes, seconds=-1)
    return (last.date() - scenario.start.date()).days + 1
