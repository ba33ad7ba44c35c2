"""The metrics of a run for Prometheus, in this process: registry and endpoint."""

from __future__ import annotations

import threading
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from swarm.errors import UsageError
from swarm.telemetry.metrics import BY_NAME, Metric


class PrometheusOutlet:
    """Takes the figures of one run; see `swarm.telemetry.metrics.Outlet`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Add the metrics to `registry`; each appears there once it has a value."""
        self._registry = registry
        self._metrics: dict[str, Any] = {}
        self._children: dict[tuple[str, ...], Any] = {}

    def set(self, name: str, value: float, *labels: str) -> None:
        """See `Outlet`."""
        self._child(name, labels).set(value)

    def add(self, name: str, amount: float, *labels: str) -> None:
        """See `Outlet`."""
        self._child(name, labels).inc(amount)

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """See `Outlet`."""
        self._child(name, labels).observe(seconds)

    def close(self) -> None:
        """Take the metrics out again."""
        for metric in self._metrics.values():
            self._registry.unregister(metric)
        self._metrics, self._children = {}, {}

    def _child(self, name: str, labels: tuple[str, ...]) -> Any:
        key = (name, *labels)
        if key not in self._children:
            if name not in self._metrics:
                self._metrics[name] = _metric(BY_NAME[name], self._registry)
            metric = self._metrics[name]
            self._children[key] = metric.labels(*labels) if labels else metric
        return self._children[key]


def _metric(metric: Metric, registry: CollectorRegistry) -> Any:
    name, said = metric.name, (metric.help, metric.labels)
    if metric.type == "counter":
        return Counter(name, *said, registry=registry)
    if metric.type == "gauge":
        return Gauge(name, *said, registry=registry)
    return Histogram(name, *said, registry=registry, buckets=metric.buckets)


class Endpoint:
    """Serves the metrics of the process over HTTP at `/metrics` while it is open."""

    def __init__(self, host: str, port: int) -> None:
        """Open it; port 0 takes a free one.

        Raises:
            UsageError: nothing can listen there.
        """
        # When a counter was made says nothing of a run and doubles the number of series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        try:
            opened: tuple[WSGIServer, threading.Thread] = start_http_server(
                port, host, self.registry
            )
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"--metrics-port {port}: nothing can listen on {host}:{port} ({error}); "
                "expected a free port"
            ) from None
        self._server, self._thread = opened
        self.host, self.port = host, self._server.server_port
        self._outlet: PrometheusOutlet | None = None

    def outlet(self) -> PrometheusOutlet:
        """For the metrics of another run; those of the one before are gone."""
        if self._outlet is not None:
            self._outlet.close()
        self._outlet = PrometheusOutlet(self.registry)
        return self._outlet

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}:{self.port}/metrics"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
