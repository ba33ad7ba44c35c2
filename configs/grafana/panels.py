"""The parts of a Grafana dashboard as plain dictionaries, in the JSON model of Grafana 12.

Source: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
Query = tuple[str, str]
"""PromQL, and the legend of its series."""

SCHEMA_VERSION = 42
WIDTH = 24
"""Columns of Grafana's layout."""
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
GOOD, WARNING, BAD = "#0072B2", "#E69F00", "#D55E00"
"""Blue, orange and vermilion, told apart by colour-blind eyes (Okabe and Ito,
https://jfly.uni-koeln.de/color). Never the only carrier: a number or a word stands with them."""
Steps = tuple[tuple[float, str], ...]
"""Colour from this value upwards; below the first it is `GOOD`."""


def target(query: Query, index: int, *, instant: bool = False, table: bool = False) -> Json:
    """One query of a panel, the `index`-th."""
    expr, legend = query
    kind = {"instant": True, "range": False} if instant else {"range": True}
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expr,
        "format": "table" if table else "time_series",
        "legendFormat": legend,
        "refId": chr(ord("A") + index),
        **kind,
    }


def thresholds(steps: Steps, base: str = GOOD) -> Json:
    """Colours by value."""
    above = [{"color": color, "value": value} for value, color in steps]
    return {"mode": "absolute", "steps": [{"color": base, "value": None}, *above]}


def words(mapping: dict[int, tuple[str, str]]) -> list[Json]:
    """Words, with their colour, that stand for values."""
    options = {
        str(value): {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(mapping.items())
    }
    return [{"type": "value", "options": options}] if options else []


def _panel(kind: str, title: str, description: str, w: int, h: int) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "gridPos": {"w": w, "h": h, "x": 0, "y": 0},
    }


def stat(
    title: str,
    description: str,
    query: Query,
    unit: str = "short",
    *,
    steps: Steps = (),
    mapping: dict[int, tuple[str, str]] | None = None,
    decimals: int | None = None,
    name: bool = False,
    w: int = 4,
    h: int = 4,
) -> Json:
    """One figure. `mapping` gives words for values, `name` shows the legend instead."""
    defaults: Json = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps),
        "mappings": words(mapping or {}),
        "noValue": "none in this run",
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    return _panel("stat", title, description, w, h) | {
        "targets": [target(query, 0)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "colorMode": "value",
            "graphMode": "none" if mapping or name else "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "name" if name else "value",
            "wideLayout": True,
        },
    }


def series(
    title: str,
    description: str,
    queries: Query | Iterable[Query],
    unit: str = "short",
    *,
    stacked: bool = False,
    steps: Steps = (),
    base: str = "transparent",
    w: int = 12,
    h: int = 8,
) -> Json:
    """Lines over time; `steps` are drawn as dashed lines."""
    listed = [queries] if isinstance(queries, tuple) else list(queries)
    custom = {
        "axisBorderShow": False,
        "drawStyle": "line",
        "fillOpacity": 40 if stacked else 5,
        "lineInterpolation": "stepAfter",
        "lineWidth": 2,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
    }
    defaults = {
        "unit": unit,
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "mappings": [],
        "noValue": "none in this run",
        "thresholds": thresholds(steps, base),
    }
    return _panel("timeseries", title, description, w, h) | {
        "targets": [target(query, index) for index, query in enumerate(listed)],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "legend": {
                "calcs": [],
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
            },
            "tooltip": {"hideZeros": False, "mode": "multi", "sort": "desc"},
        },
    }


def bars(
    title: str,
    description: str,
    expr: str,
    label: str,
    label_name: str,
    value_name: str,
    unit: str,
    w: int = 12,
    h: int = 8,
) -> Json:
    """Bars of the latest values, one for each value of a numeric `label`, in its order."""

    def convert(to: str) -> Json:
        change = {"targetField": label, "destinationType": to}
        return {"id": "convertFieldType", "options": {"fields": {}, "conversions": [change]}}

    renamed = {
        "excludeByName": {"Time": True},
        "indexByName": {},
        "renameByName": {label: label_name, "Value": value_name},
    }
    defaults = {
        "unit": unit,
        "color": {"mode": "fixed", "fixedColor": GOOD},
        "custom": {"fillOpacity": 80, "lineWidth": 1},
        "mappings": [],
        "noValue": "none in this run",
        "thresholds": thresholds(()),
    }
    return _panel("barchart", title, description, w, h) | {
        "targets": [target((expr, ""), 0, instant=True, table=True)],
        "transformations": [
            convert("number"),
            {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": label}]}},
            convert("string"),
            {"id": "organize", "options": renamed},
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "barWidth": 0.9,
            "fullHighlight": False,
            "groupWidth": 0.7,
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom"}
            | {"showLegend": False},
            "orientation": "auto",
            "showValue": "never",
            "stacking": "none",
            "tooltip": {"mode": "single", "sort": "none"},
            "xField": label_name,
            "xTickLabelMaxLength": 0,
            "xTickLabelRotation": 0,
        },
    }


def row(title: str) -> Json:
    """A heading over the panels that follow."""
    return {
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"w": WIDTH, "h": 1, "x": 0, "y": 0},
    }


def placed(panels: Iterable[Json]) -> list[Json]:
    """The panels with their numbers and places: left to right, a new line where one is full."""
    out: list[Json] = []
    x = y = line = 0
    for number, panel in enumerate(panels, start=1):
        w, h = panel["gridPos"]["w"], panel["gridPos"]["h"]
        if x + w > WIDTH:
            x, y, line = 0, y + line, 0
        out.append(panel | {"id": number, "gridPos": {"w": w, "h": h, "x": x, "y": y}})
        x, line = x + w, max(line, h)
    return out


def source_variable() -> Json:
    """The choice of the Prometheus to ask."""
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": "prometheus"},
        "options": [],
        "regex": "",
        "refresh": 1,
        "hide": 0,
        "includeAll": False,
        "multi": False,
    }


def label_variable(name: str, title: str, metric: str, label: str) -> Json:
    """A choice among the values of a label, by default all."""
    query = f"label_values({metric}, {label})"
    return {
        "name": name,
        "label": title,
        "type": "query",
        "datasource": SOURCE,
        "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor"},
        "current": {"text": ["All"], "value": ["$__all"]},
        "allValue": ".*",
        "options": [],
        "regex": "",
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "includeAll": True,
        "multi": True,
    }


def dashboard(
    uid: str,
    title: str,
    description: str,
    panels: Iterable[Json],
    *,
    others: Iterable[tuple[str, str]],
    annotation: str,
    variables: Iterable[Json] = (),
) -> Json:
    """A whole dashboard.

    Args:
        uid: stands in its address; must never change.
        title: of the dashboard.
        description: one sentence.
        panels: rows and panels in reading order.
        others: uid and title of the dashboards it links to.
        annotation: PromQL that is above 0 while an emergency lasts.
        variables: to choose from, besides the data source.
    """
    links = [
        {
            "asDropdown": False,
            "icon": "dashboard",
            "includeVars": False,
            "keepTime": True,
            "tags": [],
            "targetBlank": False,
            "title": name,
            "tooltip": "",
            "type": "link",
            "url": f"/d/{other}",
        }
        for other, name in others
    ]
    emergencies = {
        "name": "Emergencies",
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": BAD,
        "expr": annotation,
        "step": "1s",
        "titleFormat": "Emergency",
        "textFormat": "An emergency lasts",
        "useValueForTime": False,
    }
    return {
        "annotations": {"list": [emergencies]},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "links": links,
        "panels": placed(panels),
        "preload": False,
        "refresh": "5s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["swarm"],
        "templating": {"list": [source_variable(), *variables]},
        "time": {"from": "now-5m", "to": "now"},
        "timepicker": {"refresh_intervals": ["5s", "30s", "1m"]},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
    }
