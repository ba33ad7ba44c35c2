"""One Ray for the whole test session, started the way `swarm run` starts it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from swarm.runtime.local_ray import prepare


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[object]:
    """A local Ray; every run of the session that asks for the Ray engine uses it."""
    assert prepare(None) is None, "unset RAY_ADDRESS to run the tests"
    from swarm.runtime.ray import Cluster

    cluster = Cluster(None)
    yield cluster
    cluster.close()
