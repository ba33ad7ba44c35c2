"""Every shipped scenario gives the same bytes for any packing, and closes its books."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from swarm.agents.experience import Experience
from swarm.agents.policy import Exploration, Learned
from swarm.grid.balance import Balance, Operated
from swarm.loop import simulate
from swarm.market.record import TickRecord
from swarm.messages import encode
from swarm.runtime.inline import InlineEngine
from swarm.runtime.packing import contiguous, even, pack
from swarm.runtime.setup import NOTHING_LEARNED, Plan, plan
from swarm.scenario.load import load_scenario
from swarm.world.world import build_world
from tests.learning.sets import drawn, one_each

SPIKE = (
    "{type: price_spike, at: '17:30', price_per_mwh: 12000, notice_minutes: 30},"
    "{type: cloud_front, at: '17:10', duration_minutes: 20, factor: 0.4},"
    "{type: outage, at: '17:45', duration_minutes: 30, agents: [diesels-0001]},"
    "{type: load_step, at: '17:40', duration_minutes: 30, fleets: [businesses], factor: 1.2}"
)
EVENING = {
    # 17:00 to 18:10: vehicles come back, the sun sets, the outside price leaps, a diesel fails.
    "price_spike": ("start=2024-07-30T17:00:00+10:00", "ticks=14", f"events=[{SPIKE}]"),
    "auction_example": (),
    "normal_day": (
        "start=2025-06-18T17:30:00+02:00",
        "ticks=12",
        "events=[{type: maintenance, at: '18:00', duration_minutes: 40, agents: [peakers-0004]}]",
    ),
    "renewable_heavy": ("start=2025-05-14T17:30:00+02:00", "ticks=9"),
    # The largest unit fails, the connection outside is lost, the sun lifts the voltage.
    "emergency": ("start=2025-06-18T18:20:00+02:00", "ticks=5"),
    "islanding": ("start=2025-06-18T08:20:00+02:00", "ticks=6"),
    "solar_surplus": ("start=2025-05-18T11:30:00+02:00", "ticks=3", "grid.swarm=false"),
}
PHYSICAL = ("price_spike", "emergency", "islanding", "solar_surplus")
NOISY = (
    "fleets.diesels.parameters.mean_time_to_failure_hours=1",
    "fleets.diesels.parameters.marginal_cost_per_mwh=60",
)


class Tape:
    """Keeps what a run writes."""

    def __init__(self) -> None:
        self.written: list[tuple[TickRecord, Balance]] = []
        self._hash = hashlib.sha256()

    def write(self, record: TickRecord, operated: Operated) -> None:
        """Take one tick."""
        assert operated.balance is not None
        self.written.append((record, operated.balance))
        self._hash.update(encode(record))
        self._hash.update(encode(operated))

    @property
    def digest(self) -> str:
        """One hash of everything, in order."""
        return self._hash.hexdigest()


def ready(
    name: str,
    policy: str = "heuristic",
    learned: Mapping[str, Learned] = NOTHING_LEARNED,
    **given: Any,
) -> Plan:
    sets = (*EVENING[name], *(NOISY if name == "price_spike" else ()), "results.orders=true")
    loaded = load_scenario(name, sets=sets, **given)
    return plan(build_world(loaded.scenario, None), policy, learned=learned)


def run(agents: Plan, hosts: Any) -> tuple[Tape, InlineEngine]:
    tape = Tape()
    engine = InlineEngine(*pack(agents, hosts), hosts)
    simulate(engine, agents.operator.ticks, tape, lambda cleared, operated: None)
    return tape, engine


@pytest.fixture(scope="module", params=EVENING)
def evening(request: pytest.FixtureRequest) -> tuple[str, Plan, Tape, InlineEngine]:
    agents = ready(request.param)
    return request.param, agents, *run(agents, even(agents, 1))


def test_any_packing_gives_the_same_bytes(evening: tuple[str, Plan, Tape, InlineEngine]) -> None:
    _, agents, tape, _ = evening
    assert len(tape.written) == agents.operator.ticks
    for hosts in (even(agents, 3), contiguous(agents, 1), contiguous(agents, 7)):
        assert run(agents, hosts)[0].digest == tape.digest, len(hosts)


def test_energy_balances_in_every_tick(evening: tuple[str, Plan, Tape, InlineEngine]) -> None:
    name, agents, tape, _ = evening
    for tick, (record, b) in enumerate(tape.written):
        assert record.tick == b.tick == tick
        sources = b.generation_w + b.discharge_w + b.import_w + b.shed_w
        assert sources == b.load_w + b.charge_w + b.export_w + b.losses_w + b.spilled_w
        m, response = record.meters, record.response
        assert b.unserved_w == m.unserved_w.sum() + b.shed_w
        assert record.losses_w == b.losses_w
        outside = agents.operator.outside
        assert b.import_w <= outside.import_limit_w
        assert b.export_w <= outside.export_limit_w
        assert min(b.import_w, b.export_w) == 0
        if response is None:
            assert b.generation_w == m.generation_w.sum() + b.inertial_w
            assert b.load_w == m.load_w.sum() - b.damping_w
            assert b.discharge_w - b.charge_w == m.battery_w.sum()
        else:
            # What flowed at all meters in the end, against what flowed everywhere else.
            flowed = m.delivered_w + response.activated_w + response.shed_w - response.held_back_w
            unshed = b.shed_w - response.shed_w.sum()
            masses = b.inertial_w + b.damping_w
            flow = b.import_w - b.export_w
            assert flowed.sum() + masses + flow + unshed == b.losses_w + b.spilled_w
            assert (response.held_back_w <= m.generation_w).all()
            assert (response.shed_w <= m.load_w).all()
        if name not in PHYSICAL:
            assert b.inertial_w == b.damping_w == b.losses_w == min(b.shed_w, b.spilled_w) == 0


def test_what_the_physical_evenings_are_for_happens(
    evening: tuple[str, Plan, Tape, InlineEngine],
) -> None:
    """Bytes that agree prove little where nothing was drawn."""
    name, _, tape, _ = evening
    responded = sum(record.response is not None for record, _ in tape.written)
    assert (responded > 0) is (name in ("price_spike", "emergency", "islanding"))
    if name == "emergency":
        lost = min(balance.frequency_min_hz for _, balance in tape.written)
        assert lost < 49.8, "the emergency protocol is not reached"
        assert all(sum(record.reserve_bought_w) > 0 for record, _ in tape.written)
        assert sum(record.activation_micro for record, _ in tape.written) != 0
    if name == "islanding":
        assert [b.connected for _, b in tape.written] == [True] * 2 + [False] * 4
    if name == "solar_surplus":
        assert max(balance.voltage_max_pu for _, balance in tape.written) > 1.02
        assert min(balance.losses_w for _, balance in tape.written) > 0


def test_every_ledger_sums_to_zero(evening: tuple[str, Plan, Tape, InlineEngine]) -> None:
    _, _, tape, engine = evening
    for record, _ in tape.written:
        total = record.received_micro.sum() + record.outside_micro
        assert total + record.operator_micro + record.rounding_micro == 0
    market = engine.market
    assert market.balances_micro.sum() + market.operator_micro + market.rounding_micro == 0
    paid = sum(record.received_micro for record, _ in tape.written)
    np.testing.assert_array_equal(paid, market.balances_micro[:-1])


def test_no_store_buys_and_sells_in_one_tick(
    evening: tuple[str, Plan, Tape, InlineEngine],
) -> None:
    _, agents, tape, _ = evening
    stores = np.concatenate(
        [
            np.arange(r.first, r.first + len(r))
            for r in agents.rosters
            if r.kind in ("ev", "storage")
        ]
        or [np.zeros(0, dtype=int)]
    )
    for record, _ in tape.written:
        assert record.book is not None
        taken = record.accepted_w > 0
        buys = record.book.agent[taken & (record.book.side < 0)]
        sells = record.book.agent[taken & (record.book.side > 0)]
        assert not np.intersect1d(np.intersect1d(buys, sells), stores).size


def test_the_random_policy_packs_as_well() -> None:
    agents = ready("price_spike", "random")
    digests = {run(agents, hosts)[0].digest for hosts in (even(agents, 1), contiguous(agents, 7))}
    assert len(digests) == 1


def bytes_of(lived: Mapping[str, Mapping[str, Experience]]) -> dict[str, bytes]:
    """Every array of it by kind, network and name."""
    return {
        f"{kind}/{network}/{name}": array.tobytes()
        for kind, networks in lived.items()
        for network, part in networks.items()
        for name, array in vars(part).items()
    }


@pytest.mark.parametrize(("own", "exploration"), [(False, None), (True, Exploration(0.2, 0.1))])
def test_trained_policies_pack_as_well(own: bool, exploration: Exploration | None) -> None:
    """Nobody trained them: what matters is that the same numbers come out of any split."""
    plain = ready("price_spike", agents=34, ticks=14)
    counts = {roster.kind: len(roster) for roster in plain.rosters}
    policies = drawn(counts) if own else one_each()
    learned = {kind: Learned(policies[kind], exploration) for kind in counts}
    agents = ready("price_spike", "trained", learned, agents=34, ticks=14)
    tape, whole = run(agents, even(agents, 1))
    assert tape.digest != run(plain, even(plain, 1))[0].digest
    lived = bytes_of(whole.experience())
    assert bool(lived) is (exploration is not None)
    for hosts in (even(agents, 2), even(agents, 3), contiguous(agents, 1)):
        packed, engine = run(agents, hosts)
        assert packed.digest == tape.digest, len(hosts)
        assert bytes_of(engine.experience()) == lived, len(hosts)


def test_the_seed_changes_the_bytes() -> None:
    digests = [
        run(agents, even(agents, 1))[0].digest
        for agents in (ready("price_spike", seed=seed) for seed in (7, 8))
    ]
    assert digests[0] != digests[1]


@pytest.mark.parametrize(("stream", "policy"), [("nature", "heuristic"), ("policy", "random")])
def test_the_order_of_one_draw_changes_the_bytes(
    monkeypatch: pytest.MonkeyPatch, stream: str, policy: str
) -> None:
    from swarm.agents import shard

    agents = ready("price_spike", policy)
    plain = run(agents, even(agents, 1))[0].digest
    drawn = shard.uniforms

    def swapped(seed: int, name: str, tick: int, first: int, count: int) -> np.ndarray:
        values = drawn(seed, name, tick, first, count)
        return values[::-1] if (name, tick) == (stream, 6) else values

    monkeypatch.setattr(shard, "uniforms", swapped)
    assert run(agents, even(agents, 1))[0].digest != plain


def test_the_worked_example_clears_at_its_three_prices() -> None:
    agents = ready("auction_example")
    tape, _ = run(agents, contiguous(agents, 1))
    assert [record.price_milli for record, _ in tape.written] == [55_000, 65_000, 45_000]
    names = [name for roster in agents.rosters for name in roster.ids]
    expected = [
        {"supply-25": 30, "supply-30": 25, "supply-45": 50, "supply-55": 15},
        {"supply-25": 30, "supply-30": 25, "supply-45": 50, "supply-55": 15, "supply-65": 30},
        {"supply-25": 30, "supply-30": 25, "supply-45": 25},
    ]
    for (record, _), units in zip(tape.written, expected, strict=True):
        sold = zip(names, record.contract_w, strict=True)
        assert {name: w / 1e6 for name, w in sold if w > 0} == units


@pytest.mark.parametrize("agents_wanted", [0, 1])
def test_nobody_and_a_single_agent_make_a_valid_run(agents_wanted: int) -> None:
    agents = ready_small(agents_wanted)
    assert agents.agents == agents_wanted
    tape, engine = run(agents, even(agents, 2))
    assert len(tape.written) == 4
    market = engine.market
    assert market.balances_micro.sum() + market.operator_micro + market.rounding_micro == 0
    assert run(agents, contiguous(agents, 1))[0].digest == tape.digest


def ready_small(count: int) -> Plan:
    from swarm.scenario.schema import Fleet, Outside, Scenario

    scenario = Scenario(
        name="small",
        ticks=4,
        outside=Outside(import_limit_mw=100, export_limit_mw=100),
        fleets=(Fleet(name="loads", kind="consumer", count=count),),
    )
    return plan(build_world(scenario, None), "heuristic")
