"""Emergency calls reach the shards, and what they change; the passive policy."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from swarm.agents.host import Host
from swarm.agents.kinds import KINDS
from swarm.agents.policy import load_policy
from swarm.errors import RunError
from swarm.messages import Acknowledgement, Alert, Notice

from .helpers import Bench, shard_spec, signal

NONE = np.zeros(0, dtype=np.int64)
LOAD = {"load_mw": 10, "flexible_mw": 4, "shift_window_hours": 1}


def host_of(kind: str = "storage", agents: int = 2) -> Host:
    return Host([shard_spec(kind, [{}] * agents), shard_spec(kind, [{}], first=agents)])


class Drive:
    """Steps a host tick by tick; nothing it offers is accepted."""

    def __init__(self, host: Host) -> None:
        self.host, self.tick = host, 0
        self.told: Notice | None = None

    def step(self, emergency: bool) -> list[int]:
        """Sides of what it offers under a signal that says `emergency`."""
        reply = self.host.step(signal(self.tick, emergency=emergency), self.told)
        self.told = Notice(self.tick, reply.orders.quantity * 0, NONE)
        self.tick += 1
        return sorted(reply.orders.side.tolist())


def test_an_alert_stands_from_its_tick_on_until_the_all_clear() -> None:
    host = Host([shard_spec("storage", [{"buy_price_per_mwh": 60, "sell_price_per_mwh": 70}])])
    assert host.alert(Alert(1, True)) == Acknowledgement(1, 1)
    assert host.alert(Alert(3, False)) == Acknowledgement(3, 1)
    drive = Drive(host)
    sides = [drive.step(emergency=tick in (1, 2)) for tick in range(5)]
    assert sides == [[-1, 1], [1], [1], [-1, 1], [-1, 1]]


def test_an_alert_that_the_signal_does_not_know_and_the_reverse_end_the_run() -> None:
    host = host_of()
    host.alert(Alert(0, True))
    with pytest.raises(RunError, match=r"tick 0: .* emergency False.* say True"):
        Drive(host).step(False)
    with pytest.raises(RunError, match="an alert was lost"):
        Drive(host_of()).step(True)


def test_the_last_word_for_a_tick_counts_and_late_alerts_do_too() -> None:
    host = host_of()
    for active in (True, False, True):
        host.alert(Alert(0, active))
    drive = Drive(host)
    drive.step(True)
    host.alert(Alert(1, False))
    host.alert(Alert(0, True))
    drive.step(False)
    drive.step(False)


def test_alerts_may_come_from_another_thread() -> None:
    host = host_of("wind", 3)
    answers: list[Acknowledgement] = []
    threads = [
        threading.Thread(target=lambda t=tick: answers.append(host.alert(Alert(t, t % 2 == 1))))
        for tick in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.tick for a in answers) == list(range(40))
    drive = Drive(host)
    for tick in range(40):
        drive.step(tick % 2 == 1)


def test_in_an_emergency_nobody_adds_load_he_can_spare() -> None:
    for kind, buys in (("storage", [0]), ("home", [2]), ("ev", [1])):
        bench = Bench(kind, [{}], start_hour=20)
        assert bench.offer([1, 50, 1, 60])[1][:, buys].any(), kind
        assert not bench.offer([1, 50, 1, 60], bench.view(emergency=True))[1][:, buys].any(), kind
    bench = Bench("home", [{"solar_mw": 0}])
    assert bench.offer([1, 50, 1, 60], bench.view(emergency=True))[1][0, 0] == 3_000


def test_urgent_needs_are_met_in_an_emergency() -> None:
    vehicle = {"arrival_hour": 0, "departure_hour": 1, "power_mw": 0.01, "energy_mwh": 0.1}
    bench = Bench("ev", [vehicle], tick_minutes=30)
    _, quantity = bench.offer([1, 50, 1, 60], bench.view(emergency=True))
    assert quantity[0].tolist() == [10_000, 0, 0]

    bench = Bench("consumer", [LOAD], tick_minutes=15)
    bench.offer([1, 80, 0, 0])
    bench.deliver(bench.quantity)
    catch_ups = []
    for _ in range(3):
        _, quantity = bench.offer([0, 80, 1, 10], bench.view(emergency=True))
        catch_ups.append(int(quantity[0, 1]))
        bench.deliver(quantity)
    assert catch_ups == [0, 4_000_000, 0]


def test_passive_is_heuristic_where_nothing_is_flexible() -> None:
    assert {kind for kind, module in KINDS.items() if module.FLEXIBLE} == {
        "consumer",
        "ev",
        "home",
        "storage",
    }
    for kind, module in KINDS.items():
        bench = Bench(kind, [{}, {}])
        action = load_policy("passive")(module, bench.p).act(bench.s, bench.view())
        expected = module.heuristic(bench.p, bench.s, bench.view()) * (not module.FLEXIBLE)
        np.testing.assert_array_equal(action, expected, err_msg=kind)


def test_passive_kinds_do_only_what_they_must() -> None:
    zeros = [0.0, 0, 0, 0]
    assert not Bench("storage", [{}]).offer(zeros)[1].any()
    home = Bench("home", [{"solar_mw": 0.004}])
    assert home.offer(zeros, home.view({"availability": 0.5}))[1].tolist() == [[1_000, 0, 0, 0]]
    vehicle = {"arrival_hour": 0, "departure_hour": 1, "power_mw": 0.01, "energy_mwh": 0.1}
    assert Bench("ev", [vehicle], tick_minutes=30).offer(zeros)[1].tolist() == [[10_000, 0, 0]]
    calm = {**vehicle, "departure_hour": 23}
    assert not Bench("ev", [calm], tick_minutes=30).offer(zeros)[1].any()
    load = Bench("consumer", [LOAD], tick_minutes=15)
    assert load.offer(zeros)[1].tolist() == [[10_000_000, 0, 0]]
    load.respond(activated_w=4_000_000)
    load.s.hours_left[:] = 0.5
    assert load.offer(zeros)[1].tolist() == [[10_000_000, 4_000_000, 0]]
