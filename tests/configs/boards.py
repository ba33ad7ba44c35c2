"""What the dashboards and alerts ask, read from their files, and the names in a query."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from swarm.telemetry.metrics import METRICS
from tests.commands import ROOT

CONFIGS = ROOT / "configs"
BOARDS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((CONFIGS / "grafana/dashboards").glob("*.json"))
}
RULES = yaml.safe_load((CONFIGS / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]

_WORDS = {
    *("by", "without", "on", "ignoring", "group_left", "group_right", "bool", "and", "or"),
    *("unless", "offset", "sum", "avg", "min", "max", "count"),
}
_GROUPING = r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)"


class Asked(NamedTuple):
    """One query, and where it stands."""

    where: str
    expr: str
    legend: str


class Names(NamedTuple):
    """What a query names: series, labels, and the labels it groups by."""

    series: set[str]
    labels: set[str]
    groups: set[str]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels of a dashboard, rows not among them."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def asked() -> list[Asked]:
    """Every query of panels and annotations, variables at `all`, and of alerts."""
    found = []
    for name, board in BOARDS.items():
        for panel in panels(board):
            for target in panel["targets"]:
                where = f"{name}: {panel['title']} {target['refId']}"
                found.append(Asked(where, target["expr"], target["legendFormat"]))
        for annotation in board["annotations"]["list"]:
            found.append(Asked(f"{name}: {annotation['name']}", annotation["expr"], ""))
    found += [Asked(f"alert {rule['alert']}", rule["expr"], "") for rule in RULES]
    return [query._replace(expr=query.expr.replace("$kind", ".*")) for query in found]


def names(expr: str) -> Names:
    """The names in a query.

    Enough of PromQL's grammar for names: what is neither in quotes nor a keyword nor called is a
    series, inside braces and groupings a label.
    """
    matchers = re.findall(r"\{([^}]*)\}", expr)
    grouped = ",".join(re.findall(_GROUPING, expr))
    groups = {label.strip() for label in grouped.split(",")} - {""}
    labels = {label for matcher in matchers for label in re.findall(r"(\w+)\s*[=!]", matcher)}
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]|" + _GROUPING, " ", expr)
    series = {
        match[1]
        for match in re.finditer(r"\b([a-zA-Z_]\w*)\b(?!\s*\()", rest)
        if match[1] not in _WORDS
    }
    return Names(series, labels | groups, groups)


def exported() -> dict[str, set[str]]:
    """Series that a run exports -> their labels."""
    found = {}
    for metric in METRICS:
        labels = {*metric.labels, "instance", "job"}
        if metric.type == "histogram":
            found[f"{metric.name}_bucket"] = labels | {"le"}
            found[f"{metric.name}_sum"] = found[f"{metric.name}_count"] = labels
        else:
            found[metric.name] = labels
    return found


def config(name: str) -> Any:
    """A YAML file below `configs`."""
    return yaml.safe_load((CONFIGS / name).read_text())


def folder() -> Path:
    """Of the configuration of Prometheus."""
    return CONFIGS / "prometheus"
