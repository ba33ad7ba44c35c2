"""The metrics of a run as a Ray cluster exports them, with `ray_` before each name."""

from __future__ import annotations

from typing import Any

from ray.util import metrics as exported

from swarm.telemetry.metrics import BY_NAME

_TYPES = {"gauge": exported.Gauge, "counter": exported.Counter}


class RayOutlet:
    """Takes the figures of one run; see `swarm.telemetry.metrics.Outlet`."""

    def __init__(self) -> None:
        self._metrics: dict[str, Any] = {}

    def set(self, name: str, value: float, *labels: str) -> None:
        """See `Outlet`."""
        self._metric(name).set(float(value), self._tags(name, labels))

    def add(self, name: str, amount: float, *labels: str) -> None:
        """See `Outlet`; Ray takes no step of zero."""
        if amount > 0:
            self._metric(name).inc(float(amount), self._tags(name, labels))

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """See `Outlet`."""
        self._metric(name).observe(float(seconds), self._tags(name, labels))

    def _metric(self, name: str) -> Any:
        if name not in self._metrics:
            metric = BY_NAME[name]
            said = {"description": metric.help, "tag_keys": metric.labels}
            if metric.type == "histogram":
                made = exported.Histogram(name, boundaries=list(metric.buckets), **said)
            else:
                made = _TYPES[metric.type](name, **said)
            self._metrics[name] = made
        return self._metrics[name]

    @staticmethod
    def _tags(name: str, labels: tuple[str, ...]) -> dict[str, str]:
        return dict(zip(BY_NAME[name].labels, labels, strict=True))
