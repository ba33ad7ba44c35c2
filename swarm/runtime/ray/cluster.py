"""A connection to Ray, and what is started on it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from swarm.agents.shard import ShardSpec
from swarm.errors import RunError, UsageError
from swarm.grid.operator import OperatorSpec
from swarm.market.auction import MarketSpec
from swarm.runtime.local_ray import no_cluster, probe, uninterrupted
from swarm.runtime.ray.calls import Started
from swarm.runtime.ray.engine import RayEngine
from swarm.runtime.ray.metrics import RayOutlet
from swarm.telemetry.metrics import Outlet

ACTORS_PER_CPU = 4


class Cluster:
    """A connection to Ray: to a running cluster, to the one this process already uses, or local."""

    def __init__(self, address: str | None) -> None:
        """Connect, or start Ray on this machine (loopback, no dashboard) where `address` is None.

        Raises:
            UsageError: where no cluster answers at `address`.
        """
        self._actors: list[Any] = []
        self.owned = not ray.is_initialized()
        self._theirs = address is not None or not self.owned
        if not self.owned:
            return
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address is not None:
            probe(address)
            try:
                with uninterrupted():
                    ray.init(address=address, **quiet)
            except (ConnectionError, RuntimeError, ValueError, RayError) as error:
                raise UsageError(no_cluster(address, str(error).splitlines()[0])) from None
            return
        try:
            with uninterrupted():
                ray.init(address="local", include_dashboard=False, **quiet)
        except Exception as error:
            self.close()
            raise RunError(
                f"Ray did not start on this machine: {error}\n"
                "hint: `swarm doctor` checks Ray; `--engine inline` runs without it"
            ) from None

    @property
    def cpus(self) -> int:
        """CPUs of the cluster, at least 1."""
        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    def facts(self) -> dict[str, Any]:
        """What it is, for `swarm doctor`."""
        nodes = sum(node["Alive"] for node in ray.nodes())
        return {"version": ray.__version__, "cpus": self.cpus, "nodes": nodes}

    def hosts_for(self, agents: int) -> int | None:
        """Hosts that `agents_per_actor: auto` means; None: every agent gets its own actor."""
        return None if agents <= ACTORS_PER_CPU * self.cpus else self.cpus

    def engine(
        self,
        market: MarketSpec,
        operator: OperatorSpec,
        hosts: Sequence[Sequence[ShardSpec]],
        started: Started,
    ) -> RayEngine:
        """An engine on this cluster; its actors end when the cluster is closed."""
        return RayEngine(market, operator, hosts, started, self._actors)

    def metrics(self) -> Outlet | None:
        """Takes metrics for the cluster to export; None on a Ray that was started here."""
        return RayOutlet() if self._theirs else None

    def end_actors(self) -> None:
        """End the actors of all engines started so far."""
        with uninterrupted():
            self._kill()

    def close(self) -> None:
        """End the actors, disconnect, and stop Ray where it was started here."""
        with uninterrupted():
            self._kill()
            if self.owned and ray.is_initialized():
                ray.shutdown()

    def _kill(self) -> None:
        for actor in self._actors:
            with contextlib.suppress(Exception):
                ray.kill(actor)
        self._actors = []
