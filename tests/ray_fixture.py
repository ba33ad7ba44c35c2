"""One Ray for the whole test session, started the way `swarm run` starts it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from swarm.runtime.local_ray import prepare


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The address of a local Ray; every run of this process with the Ray engine uses it."""
    assert prepare(None) is None, "unset RAY_ADDRESS to run the tests"
    import ray

    from swarm.runtime.ray.cluster import Cluster

    cluster = Cluster(None)
    yield ray.get_runtime_context().gcs_address
    cluster.close()
