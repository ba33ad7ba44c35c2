"""Runs of shipped scenarios that several tests look at, each made once, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

import swarm
from swarm.results.run import Run


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """(scenario, fields set in it) -> its run, its baseline included where it has one."""

    @cache
    def made(name: str, *sets: str) -> Run:
        return swarm.run(name, sets=sets, engine="inline", out=tmp_path_factory.mktemp(name))

    return made
