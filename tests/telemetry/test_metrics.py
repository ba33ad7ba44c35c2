"""The metrics of a run as Prometheus reads them, against the run's own key figures."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import swarm
from swarm.errors import UsageError
from swarm.results.run import Run
from swarm.runtime.session import Silent
from swarm.runtime.telemetry import Watched
from swarm.telemetry.metrics import BY_NAME, METRICS

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]
PER_HISTOGRAM = ("_bucket", "_sum", "_count")
JOULES_PER_MWH = 3.6e9


class Scraper(Silent):
    """Reads the endpoint at every tick, as it is told where it is."""

    def __init__(self) -> None:
        self.url = ""
        self.text = ""
        self.ticks: list[float] = []

    def note(self, text: str) -> None:
        if text.startswith("metrics: "):
            self.url = text.removeprefix("metrics: ")
        if text.startswith("metrics stay"):
            self.text = self.read()

    def tick(self, cleared: object, operated: object) -> None:
        self.text = self.read()
        self.ticks.append(parsed(self.text)["swarm_ticks_total", ()])

    def read(self) -> str:
        with urllib.request.urlopen(self.url) as answer:
            assert answer.headers["content-type"].startswith("text/plain")
            return str(answer.read().decode())


def parsed(text: str) -> Series:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def watched(scenario: str, **options: Any) -> tuple[Run, Scraper, Series]:
    """A run, who read it, and its last figures."""
    scraper = Scraper()
    port = Watched(metrics_port=0, hold_s=0.01)
    options = {"engine": "inline", "out": None, **options}
    run = swarm.run(scenario, watched=port, progress=scraper, **options)
    return run, scraper, parsed(scraper.text)


@pytest.fixture(scope="module")
def emergency() -> tuple[Run, Scraper, Series]:
    return watched("emergency")


@pytest.fixture(scope="module")
def learning() -> tuple[Run, Scraper, Series]:
    return watched("price_spike", ticks=24, policy="trained", learn=True)


def test_the_figures_are_those_of_the_results(emergency: Any) -> None:
    run, scraper, series = emergency
    found = run.metrics
    joules = {
        "swarm_unserved_energy_joules_total": "unserved_mwh",
        "swarm_shed_energy_joules_total": "shed_mwh",
        "swarm_curtailed_energy_joules_total": "curtailed_mwh",
    }
    for name, key in joules.items():
        assert series[name, ()] == pytest.approx(found[key] * JOULES_PER_MWH, abs=1e-3), name
    traded = series["swarm_traded_energy_joules_total", (("market", "energy"),)]
    assert traded == pytest.approx(found["volume_mwh"] * JOULES_PER_MWH)
    assert series["swarm_emergencies_total", ()] == found["emergencies"]
    assert found["emergencies"] >= 1
    assert series["swarm_contracts_total", ()] == found["contracts"]
    assert series["swarm_policy_violations_total", ()] == sum(found["violations_by_rule"].values())
    assert series["swarm_ticks_total", ()] == found["ticks"] == 36
    assert series["swarm_frequency_in_band_ratio", ()] == pytest.approx(
        found["seconds_in_band_share"]
    )
    assert series["swarm_renewable_ratio", ()] == pytest.approx(found["renewable_share"])
    grams = sum(
        value for (name, _), value in series.items() if name == "swarm_emissions_grams_total"
    )
    assert grams == pytest.approx(found["emissions_tonnes"] * 1e6)
    for kind, paid in found["received_by_kind"].items():
        assert series["swarm_received_currency", (("kind", kind),)] == pytest.approx(paid)
        cost = series["swarm_cost_currency", (("kind", kind),)]
        assert cost == pytest.approx(found["cost_by_kind"][kind])
        assert series["swarm_agents", (("kind", kind),)] == found["agents_by_kind"][kind]
    assert run.baseline is not None
    assert scraper.ticks[:36] == list(map(float, range(1, 37))), "the baseline first"
    assert scraper.ticks[38:74] == list(map(float, range(1, 37))), "then the run, from zero"


def test_histograms_count_every_tick(emergency: Any) -> None:
    run, _, series = emergency
    assert series["swarm_tick_seconds_count", ()] == 36 + 2
    assert series["swarm_phase_seconds_count", (("phase", "step"),)] == 36 + 2
    spent = sum(value for (name, _), value in series.items() if name == "swarm_phase_seconds_sum")
    assert spent <= series["swarm_tick_seconds_sum", ()]
    assert series["swarm_emergency_response_seconds_count", ()] == run.metrics["emergencies"]
    simulated_ms = 1000 * series["swarm_emergency_response_seconds_sum", ()]
    assert simulated_ms <= run.metrics["emergencies"] * run.metrics["emergency_response_ms"] + 1e-6
    assert series["swarm_emergency_call_seconds_count", ()] == run.timings["alerts"]["alerts"]


def test_messages_are_those_of_the_run(emergency: Any) -> None:
    run, _, series = emergency
    for lane, fates in run.timings["messages"].items():
        for fate in ("sent", "delivered", "refused"):
            key = (("fate", fate), ("lane", lane))
            assert series["swarm_messages_total", key] == fates[fate]


def test_the_supply_curve_rises_to_what_is_offered() -> None:
    _, _, series = watched("price_spike", ticks=4, sets=("results.orders=true",))
    curve = sorted(
        (float(labels[0][1]), value)
        for (name, labels), value in series.items()
        if name == "swarm_supply_at_most_watts"
    )
    powers = [value for _, value in curve]
    assert powers == sorted(powers)
    assert 0 < powers[0] <= powers[-1] <= series["swarm_supply_offered_watts", ()]


def test_a_negotiation_is_measured() -> None:
    run, _, series = watched("price_spike", ticks=6, sets=("market.mechanism=negotiated",))
    assert series["swarm_negotiations_total", ()] > 0
    rounds = series["swarm_negotiation_rounds_total", ()]
    assert rounds == run.metrics["negotiation_rounds"] * 6
    # The final price is called once more.
    assert series["swarm_negotiation_seconds_count", ()] >= rounds
    assert series["swarm_consensus_ratio", ()] == run.metrics["consensus_share"]


def test_every_metric_of_the_table_comes_from_some_run(emergency: Any, learning: Any) -> None:
    feeder = watched("solar_surplus", ticks=2)[2]
    orders = watched("price_spike", ticks=2, sets=("results.orders=true",))[2]
    negotiated = watched("price_spike", ticks=2, sets=("market.mechanism=negotiated",))[2]
    seen = {
        name
        for series in (emergency[2], learning[2], feeder, orders, negotiated)
        for name, _ in series
    }
    for metric in METRICS:
        names = [metric.name]
        if metric.type == "histogram":
            names = [metric.name + suffix for suffix in PER_HISTOGRAM]
        assert set(names) <= seen, metric.name
    own = {name for name in seen if name.startswith("swarm_")}
    suffixed = {name.removesuffix(end) for name in own for end in ("", *PER_HISTOGRAM)}
    assert {metric.name for metric in METRICS} <= suffixed
    for name in own:
        stem = next((name.removesuffix(end) for end in PER_HISTOGRAM if name.endswith(end)), name)
        assert name in BY_NAME or stem in BY_NAME, name


def test_series_do_not_grow_with_agents() -> None:
    few, many = (set(watched("price_spike", ticks=2, agents=n)[2]) for n in (40, 400))
    assert few == many
    assert len(few) < 300


def test_nothing_watched_changes_no_byte(emergency: Any) -> None:
    alone = swarm.run("emergency", engine="inline", out=None)
    assert alone.digest == emergency[0].digest


def test_names_follow_the_conventions() -> None:
    bases = ("seconds", "watts", "joules", "bytes", "ratio", "grams", "hertz", "currency")
    for metric in METRICS:
        assert metric.name.startswith("swarm_")
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert not set(metric.labels) & {"agent", "agents", "id", "le", "quantile"}
        if "energy" in metric.name or "power" in metric.name:
            assert any(base in metric.name for base in bases), metric.name
        assert metric.help.endswith(".")


def test_a_port_that_is_taken_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--metrics-port {port}: nothing can listen"):
            swarm.run(
                "price_spike",
                ticks=2,
                engine="inline",
                out=tmp_path,
                watched=Watched(metrics_port=port),
            )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Watched(metrics_port=70_000), "expected 0 to 65535"),
        (Watched(traced_ratio=1.5), "expected 0 to 1"),
        (Watched(pace_s=-1), "expected seconds"),
        (Watched(hold_s=1), "give a port"),
    ],
)
def test_nonsense_is_refused(asked: Watched, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        swarm.run("price_spike", ticks=2, engine="inline", out=tmp_path, watched=asked)
    assert not list(tmp_path.iterdir())


def test_the_endpoint_is_closed_with_the_run() -> None:
    _, scraper, _ = watched("price_spike", ticks=2)
    with pytest.raises(OSError, match="refused"):
        scraper.read()


def test_a_pace_is_kept() -> None:
    import time

    begin = time.monotonic()
    swarm.run("price_spike", ticks=3, engine="inline", out=None, watched=Watched(pace_s=0.2))
    assert time.monotonic() - begin >= 5 * 0.2


@pytest.fixture
def exported(ray_cluster: str) -> str:
    import ray

    port = ray.nodes()[0]["MetricsExportPort"]
    return f"http://127.0.0.1:{port}/metrics"


def test_a_cluster_exports_the_same_figures(ray_cluster: str, exported: str) -> None:
    import time

    run = swarm.run("price_spike", ticks=4, agents=20, agents_per_actor=10, out=None)
    until, text = time.monotonic() + 40, ""
    while "ray_swarm_ticks_total" not in text and time.monotonic() < until:
        time.sleep(1)
        with urllib.request.urlopen(exported) as answer:
            text = answer.read().decode()
    found = [line for line in text.splitlines() if line.startswith("ray_swarm_contracts_total")]
    assert sum(float(line.split()[-1]) for line in found) >= run.metrics["contracts"]
