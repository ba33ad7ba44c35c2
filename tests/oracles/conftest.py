"""Runs of shipped scenarios that several tests look at, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

import swarm
from swarm.results.run import Run


@pytest.fixture(scope="session")
def shipped() -> Callable[[str], Run]:
    """A scenario as shipped, its baseline included where it has one."""

    @cache
    def made(name: str) -> Run:
        return swarm.run(name, engine="inline", out=None)

    return made
