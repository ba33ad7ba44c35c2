"""Worlds side by side: wherever they run, what is lived through and learned is the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.runtime.trainee import TeamTrainee, kinds_of, make_trainee, places_of
from swarm.runtime.worlds import Processes
from swarm.scenario.days import FIRST_TRAINING_SEED, split_of, training_seed
from swarm.scenario.load import load_scenario
from swarm.scenario.schema import Scenario


def alone() -> Scenario:
    return load_scenario("storage_alone", sets=("fleets.0.count=2",), ticks=24).scenario


def trained(**how: object) -> dict[str, bytes]:
    trainee = make_trainee(alone(), kinds=("storage",), worlds=3, **how)
    try:
        for episode in range(2):
            trainee.episode(episode)
        trainee.score()
        state = trainee.state()
    finally:
        trainee.close()
    return {name: array.tobytes() for name, array in state.items()}


@pytest.fixture(scope="module")
def here() -> dict[str, bytes]:
    return trained(jobs=1)


def test_processes_learn_the_same_bytes(here: dict[str, bytes]) -> None:
    assert trained(jobs=2) == here


def test_ray_learns_the_same_bytes(here: dict[str, bytes], ray_cluster: str) -> None:
    assert trained(engine="ray") == here


def test_a_world_that_cannot_be_is_told_from_its_process(tmp_path: Path) -> None:
    trainee = make_trainee(
        alone(), kinds=("storage",), worlds=2, data=tmp_path / "none.csv", jobs=2
    )
    try:
        with pytest.raises(UsageError, match=r"none\.csv"):
            trainee.episode(0)
    finally:
        trainee.close()


def test_places_are_on_days_of_their_split() -> None:
    scenario = alone()
    for split in ("train", "validation"):
        places = places_of(scenario, None, split, year=False)
        days = [place.start.date() for place in places if place.start is not None]
        assert len(days) == len(places) > 50
        assert {split_of(day) for day in days} == {split}
        clock = {place.start.timetz() for place in places if place.start is not None}
        assert clock == {scenario.start.timetz()}
    weeks = places_of(scenario, None, "train", year=True)
    assert all(place.start is not None and place.start.isoweekday() == 1 for place in weeks)


def test_a_year_is_lived_through_in_hours() -> None:
    trainee = make_trainee(alone(), kinds=("storage",), year=True)
    assert (trainee.lesson.scenario.tick_minutes, trainee.lesson.scenario.ticks) == (60, 168)


def test_kinds_that_are_not_there_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"--kinds 'storag'.*did you mean 'storage'"):
        kinds_of(("consumer", "storage"), ("storag",))


def test_settled_kinds_act_and_do_not_learn() -> None:
    start = make_trainee(alone(), kinds=("storage",)).policies()
    trainee = make_trainee(alone(), kinds=("consumer",), start=start)
    assert isinstance(trainee, TeamTrainee)
    trainee.episode(0)
    after = trainee.policies()
    assert set(after) == {"consumer", "storage"}
    for name, array in start["storage"]["storage"].items():
        np.testing.assert_array_equal(after["storage"]["storage"][name], array)


def test_training_seeds_are_none_that_a_test_may_use() -> None:
    seeds = {training_seed(3, episode, world) for episode in range(50) for world in range(4)}
    assert len(seeds) == 200
    assert min(seeds) >= FIRST_TRAINING_SEED


def test_more_processes_than_worlds_are_not_started() -> None:
    trainee = make_trainee(alone(), kinds=("storage",), worlds=2, jobs=5)
    try:
        assert isinstance(trainee._worlds, Processes)
        assert len(trainee._worlds._pipes) == 2
    finally:
        trainee.close()
