"""The tick's exchange: handled once, in order, counted; and the same mechanism on every engine."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import swarm
from swarm.agents.host import Host
from swarm.errors import RunError
from swarm.grid.operator import Operator
from swarm.messages import Alert, Signal, StepReply, encode
from swarm.post import Lane, Parcel
from swarm.runtime.exchange import Exchange, HostDesk, Told, framed, unframed
from swarm.runtime.packing import even, pack
from swarm.runtime.setup import plan
from swarm.scenario.load import load_scenario
from swarm.world.world import build_world

AGENTS = 14
WINDOW = ("start=2025-06-18T18:20:00+02:00", "ticks=5", "baseline=null")
"""`emergency` from ten minutes before its largest unit fails."""


class Bench:
    """One host behind its desk, and who talks to it."""

    def __init__(self) -> None:
        scenario = load_scenario("price_spike", agents=AGENTS, ticks=288).scenario
        ready = plan(build_world(scenario, None), "heuristic")
        hosts = even(ready, 1)
        market, operator = pack(ready, hosts)
        self.desk = HostDesk(Host(hosts[0]), "host-0")
        self.exchange = Exchange([len(market.host_agents[0])])
        self.signal: Signal = Operator(operator).operate(-1, None, ())[0].signal

    def step(self) -> Parcel:
        told = Told(self.signal, None, self.exchange.arrived[0])
        parcel = self.exchange.step(0, self.signal.tick, False)
        return msgspec.structs.replace(parcel, body=told)


def test_a_step_that_comes_twice_is_taken_once() -> None:
    bench = Bench()
    parcel = bench.step()
    first = bench.desk.handle(parcel)
    # A second step of the same tick would be refused by the shards: it is not taken to them.
    assert bench.desk.handle(parcel) is first
    bench.exchange.answered(0, parcel)
    assert bench.desk.host.shards[0]._next_tick == 1
    counts = bench.exchange.messages([bench.desk.facts(bench.exchange.arrived[0])])["market"]
    reply: StepReply = first.body
    down, up = 2 * AGENTS, len(reply.orders.side) + 2 * AGENTS
    assert counts == {"sent": down + up, "delivered": down + up, "queued": 0, "refused": 0}


def test_what_is_not_answered_yet_is_queued() -> None:
    bench = Bench()
    parcel = bench.step()
    assert bench.exchange.messages([])["market"]["queued"] == 2 * AGENTS
    bench.desk.handle(parcel)
    reply_queued = bench.desk.facts(0).lanes[Lane.MARKET]
    assert reply_queued.queued == reply_queued.sent > 0


def test_a_step_that_was_skipped_is_missed() -> None:
    bench = Bench()
    bench.step()
    with pytest.raises(RunError, match="host-0 refused a parcel: number 1, expected 0"):
        bench.desk.handle(bench.step())


def test_an_alert_that_comes_twice_is_an_error_and_counts_once() -> None:
    bench = Bench()
    parcel = bench.exchange.alert(0, Alert(0, True))
    assert bench.desk.alert(parcel).agents == AGENTS
    with pytest.raises(RunError, match="refused an alert: number 0 was taken before"):
        bench.desk.alert(parcel)
    bench.exchange.answered(0, parcel)
    counts = bench.exchange.messages([])["emergency"]
    assert counts == {"sent": AGENTS, "delivered": AGENTS, "queued": 0, "refused": 0}


def test_frames_hold_parcel_and_body() -> None:
    bench = Bench()
    reply = bench.desk.handle(bench.step())
    again = unframed(framed(reply), StepReply)
    assert encode(again.body) == encode(reply.body)
    assert msgspec.structs.replace(again, body=None) == msgspec.structs.replace(reply, body=None)


@pytest.mark.parametrize("mechanism", ["uniform_price", "negotiated"])
def test_messages_add_up_on_every_engine(ray_cluster: str, mechanism: str) -> None:
    found: list[dict[str, Any]] = []
    sets = (*WINDOW, f"market.mechanism={mechanism}", "market.vertical_step=lower")
    for options in ({"engine": "inline"}, {"engine": "ray"}):
        run = swarm.run("emergency", out=None, sets=sets, **options)
        found.append(run.timings["messages"])
        for counts in found[-1].values():
            assert counts["sent"] == counts["delivered"] + counts["queued"] + counts["refused"]
    market = found[0]["market"]
    assert market["delivered"] == market["sent"] > 5 * 286 * 4
    assert found[0]["emergency"]["sent"] > 0
    assert found[0]["emergency"] == found[1]["emergency"]
    assert found[0]["market"] == found[1]["market"]
