"""The dashboards are what their source writes, ask for what exists, and can be read."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from swarm.telemetry.metrics import METRICS
from tests.configs.boards import BOARDS, CONFIGS, Asked, asked, config, exported, names, panels

EVERY = [(name, panel) for name, board in BOARDS.items() for panel in panels(board)]
COLOURS = {"#0072B2", "#E69F00", "#D55E00", "transparent"}
"""Blue, orange and vermilion of Okabe and Ito's palette for the colour-blind."""
UNITS = {
    "_watts": {"watt"},
    "_joules": {"joule"},
    "_joules_total": {"joule"},
    "_hertz": {"hertz"},
    "_ratio": {"percentunit", "none"},
    "_bytes": {"bytes"},
    "_grams_total": {"massg"},
    "_seconds_total": {"s", "suffix: x"},
    "_per_mwh": {"suffix: /MWh"},
}
"""Ending of a plain metric -> units a panel of it may have."""


def _titled(value: Any) -> str | None:
    return value["title"] if isinstance(value, dict) else None


def test_the_files_are_what_their_source_writes(tmp_path: Path) -> None:
    source = CONFIGS / "grafana/dashboards.py"
    subprocess.run([sys.executable, str(source), str(tmp_path)], check=True, timeout=60)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in (CONFIGS / "grafana/dashboards").iterdir()}
    assert written == kept
    assert len(kept) == 6


@pytest.mark.parametrize("name", BOARDS)
def test_panels_lie_side_by_side_on_the_grid(name: str) -> None:
    places = [panel["gridPos"] for panel in BOARDS[name]["panels"]]
    assert all(p["x"] >= 0 and p["x"] + p["w"] <= 24 and p["h"] >= 1 for p in places)
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (a, b)
    # No holes: each line of panels is as wide as the grid.
    for y in {p["y"] for p in places}:
        assert sum(p["w"] for p in places if p["y"] == y) == 24, y


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_can_be_found_and_refreshes(name: str) -> None:
    board = BOARDS[name]
    # An address that people have kept must go on leading here.
    assert board["uid"] == f"swarm-{name}"
    assert board["refresh"] == "5s"
    # Of Grafana 12.
    assert board["schemaVersion"] == 42
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    linked = {link["url"] for link in board["links"]}
    assert linked == {f"/d/{other['uid']}" for other in BOARDS.values()} - {f"/d/{board['uid']}"}
    sources = [v for v in board["templating"]["list"] if v["type"] == "datasource"]
    assert [source["query"] for source in sources] == ["prometheus"]
    assert [note["name"] for note in board["annotations"]["list"]] == ["Emergencies"]


@pytest.mark.parametrize(("name", "panel"), EVERY, ids=_titled)
def test_a_panel_can_be_understood(name: str, panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["description"].count(". ") == 0, "one sentence"
    assert panel["datasource"]["uid"] == "${datasource}"
    assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["noValue"]
    for expr in (target["expr"] for target in panel["targets"]):
        for ending, units in UNITS.items():
            # A rate, a share or a count of a metric has a unit of its own.
            if expr.endswith(ending) or expr.endswith(f"{ending})"):
                assert defaults["unit"] in units, expr


@pytest.mark.parametrize(("name", "panel"), EVERY, ids=_titled)
def test_colour_is_never_all_that_tells(name: str, panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    used = {step["color"] for step in defaults["thresholds"]["steps"]}
    words: dict[str, str] = {}
    for mapping in defaults["mappings"]:
        for option in mapping["options"].values():
            used.add(option["color"])
            assert words.setdefault(option["text"], option["color"]) == option["color"]
    assert used <= COLOURS
    # What changes its colour shows its number or a word beside it.
    assert panel["type"] != "stat" or panel["options"]["textMode"] in ("value", "name")
    assert panel["type"] != "stat" or panel["options"]["colorMode"] == "value"


@pytest.mark.parametrize("query", asked(), ids=lambda query: query.where)
def test_a_query_names_what_a_run_exports(query: Asked) -> None:
    known = exported()
    found = names(query.expr)
    assert found.series
    if query.where.startswith("system:") and all(name.startswith("ray_") for name in found.series):
        # Ray's own, which no table of ours has; their row says so.
        return
    assert found.series <= set(known)
    labels = set().union(*(known[name] for name in found.series))
    assert found.labels <= labels
    shown = {part.split("}}")[0] for part in query.legend.split("{{")[1:]}
    assert shown <= (found.groups or labels)


def test_ray_is_asked_in_its_row_only() -> None:
    board = BOARDS["system"]["panels"]
    rows = [at for at, panel in enumerate(board) if panel["type"] == "row"]
    assert "Ray's own" in board[rows[-1]]["title"]
    for at, panel in enumerate(board):
        of_ray = any("ray_" in target["expr"] for target in panel.get("targets", ()))
        assert of_ray is (at > rows[-1]), panel["title"]


def test_every_metric_is_shown_somewhere() -> None:
    shown = set().union(*(names(query.expr).series for query in asked()))
    for metric in METRICS:
        series = {metric.name, f"{metric.name}_bucket", f"{metric.name}_sum"}
        assert series & shown, metric.name


def test_the_names_in_a_query_are_found() -> None:
    found = names(
        'sum by (kind, lane) (rate(a_total{fate="x y", lane!~"z"}[1m])) / on () b > bool 2'
    )
    assert found == ({"a_total", "b"}, {"kind", "lane", "fate"}, {"kind", "lane"})


def test_grafana_is_told_of_the_sources_that_dashboards_choose_from() -> None:
    sources = config("grafana/provisioning/datasources/swarm.yaml")["datasources"]
    assert {source["uid"]: source["type"] for source in sources} == {
        "prometheus": "prometheus",
        "jaeger": "jaeger",
    }
    for board in BOARDS.values():
        assert board["templating"]["list"][0]["current"]["value"] == "prometheus"
    interval = config("prometheus/prometheus.yaml")["scrape_configs"][0]["scrape_interval"]
    assert sources[0]["jsonData"]["timeInterval"] == interval
