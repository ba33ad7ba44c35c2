"""An adversary who records, changes, mixes, delays and repeats everything that is ever sent.

He has the keys of an agent and a market of his own, but none of the run's. The oracle knows nothing
of signatures: a submission is valid exactly where all its parts are, byte for byte, those of one
genuine contract of this run and shard, in its window, not revoked, and neither the contract was
used before nor the agent dispatched in this tick. So the test fails both where a forgery is
dispatched and where a genuine contract is refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from swarm.trust.contracts import (
    TABLE,
    Countersignature,
    Proof,
    TickSeal,
    decode_contract,
    nonce,
    seal_tick,
)
from swarm.trust.dispatch import Reason
from swarm.trust.keys import Purpose, key_from_seed, sign
from tests.trust.tick import (
    AGENTS,
    IDENTITY,
    KEYS,
    MARKET,
    OTHER_RUN,
    RUN,
    SHARD,
    issue,
    verifier,
)

WINDOW = 2
HIS_KEY = key_from_seed(b"a".ljust(32))
HIS_MARKET = key_from_seed(b"m".ljust(32))
GENUINE_AGENT = st.integers(0, AGENTS - 1)
NUMBERS = ("first_tick", "last_tick", "agent", "quantity_w", "price_milli")


@dataclass(frozen=True)
class Sent:
    """What comes to a shard for one contract."""

    contract: bytes
    seal: TickSeal
    proof: Proof
    signed: Countersignature | None


def flip(data: bytes, bit: int) -> bytes:
    if not data:
        return data
    number = int.from_bytes(data, "little") ^ 1 << bit % (8 * len(data))
    return number.to_bytes(len(data), "little")


class Adversary(RuleBasedStateMachine):
    """Sends to one shard's verifier."""

    met: ClassVar[Counter[Reason]] = Counter()
    """How often each reason was given, in all runs of the machine."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = verifier(longest_window=WINDOW)
        self.now = 0
        self.genuine: set[Sent] = set()
        self.issued: dict[int, list[Sent]] = {}
        self.revoked: set[int] = set()
        self.used: set[bytes] = set()
        self.dispatched: list[tuple[int, int]] = []

    seen = Bundle("seen")

    # The run goes on.

    @initialize(target=seen)
    def start(self) -> object:
        return self.issue(0, longer=True)

    @rule(target=seen, ahead=st.integers(1, 2), longer=st.booleans())
    def issue_ahead(self, ahead: int, longer: bool) -> object:
        return self.issue(self.now + ahead, longer)

    @rule(target=seen, delivered=st.booleans(), longer=st.booleans())
    def tick_passes(self, delivered: bool, longer: bool) -> object:
        """Its contracts arrive as they are, or are lost; the market issues the next tick."""
        if delivered:
            self.submit(self.issued[self.now])
        self.now += 1
        return self.issue(self.now, longer)

    def issue(self, tick: int, longer: bool) -> object:
        """The market's contracts of a tick, once."""
        if tick in self.issued:
            return multiple()
        made = issue(tick, last_tick=tick + longer)
        self.issued[tick] = sent = [self.parts(made.of([agent])) for agent in range(AGENTS)]
        self.genuine.update(sent)
        return multiple(*sent)

    @staticmethod
    def parts(
        of: tuple[list[bytes], TickSeal, list[Proof], list[Countersignature | None]],
    ) -> Sent:
        return Sent(of[0][0], of[1], of[2][0], of[3][0])

    @rule(agent=GENUINE_AGENT)
    def revoke(self, agent: int) -> None:
        if len(self.revoked) < 1:
            self.gate.revoke(agent)
            self.revoked.add(agent)

    # What he makes of it.

    @rule(target=seen, agent=GENUINE_AGENT, tick=st.integers(0, 6))
    def another_run(self, agent: int, tick: int) -> Sent:
        """Genuine in a run of the same seed and keys."""
        return self.parts(issue(tick, run=OTHER_RUN).of([agent]))

    @rule(
        target=seen,
        agent=GENUINE_AGENT,
        tick=st.integers(0, 6),
        pose=st.booleans(),
        small=st.booleans(),
    )
    def forge(self, agent: int, tick: int, pose: bool, small: bool) -> Sent:
        """A whole tick under his own market key, or under one of small order."""
        made = self.parts(issue(tick, market=HIS_MARKET, keys=[HIS_KEY] * AGENTS).of([agent]))
        market = IDENTITY if small else MARKET.public if pose else made.seal.market
        signer = IDENTITY if small else KEYS[agent].public if pose else HIS_KEY.public
        assert made.signed is not None
        return replace(
            made,
            seal=msgspec.structs.replace(made.seal, market=market),
            signed=Countersignature(signer, made.signed.signature),
        )

    @rule(target=seen, sent=seen, name=st.sampled_from(NUMBERS), by=st.sampled_from([-1, 1, 100]))
    def change_field(self, sent: Sent, name: str, by: int) -> Sent:
        """Another value in the contract, with the nonce that belongs to it."""
        if len(sent.contract) != TABLE.itemsize:
            return sent
        row = np.frombuffer(sent.contract, TABLE).copy()
        row[name] += by
        run, tick, agent = row["run"].tobytes(), int(row["first_tick"][0]), int(row["agent"][0])
        row["nonce"] = np.frombuffer(nonce(run, tick, agent), np.uint8)
        return replace(sent, contract=row.tobytes())

    @rule(target=seen, sent=seen, bit=st.integers(0, 10_000))
    def flip_contract(self, sent: Sent, bit: int) -> Sent:
        return replace(sent, contract=flip(sent.contract, bit))

    @rule(
        target=seen,
        sent=seen,
        bit=st.integers(0, 10_000),
        name=st.sampled_from(["run", "root", "market", "signature"]),
    )
    def flip_seal(self, sent: Sent, name: str, bit: int) -> Sent:
        value = flip(getattr(sent.seal, name), bit)
        return replace(sent, seal=msgspec.structs.replace(sent.seal, **{name: value}))

    @rule(target=seen, sent=seen, tick=st.integers(0, 6), leaves=st.integers(0, AGENTS + 1))
    def renumber_seal(self, sent: Sent, tick: int, leaves: int) -> Sent:
        return replace(sent, seal=msgspec.structs.replace(sent.seal, tick=tick, leaves=leaves))

    @rule(target=seen, sent=seen, leaf=st.integers(-1, AGENTS), bit=st.integers(0, 10_000))
    def change_proof(self, sent: Sent, leaf: int, bit: int) -> Sent:
        path = sent.proof.path if bit % 2 else flip(sent.proof.path, bit)
        return replace(sent, proof=Proof(leaf, path))

    @rule(target=seen, sent=seen, other=seen, which=st.integers(1, 15))
    def mix(self, sent: Sent, other: Sent, which: int) -> Sent:
        """Some parts of one, the others of another."""
        names = ("contract", "seal", "proof", "signed")
        taken = {name: getattr(other, name) for k, name in enumerate(names) if which >> k & 1}
        return replace(sent, **taken)

    @rule(
        target=seen, sent=seen, as_agent=st.none() | GENUINE_AGENT, purpose=st.sampled_from(Purpose)
    )
    def sign_himself(self, sent: Sent, as_agent: int | None, purpose: Purpose) -> Sent:
        signer = HIS_KEY.public if as_agent is None else KEYS[as_agent].public
        signature = sign(HIS_KEY, purpose, sent.contract)
        return replace(sent, signed=Countersignature(signer, signature))

    @rule(target=seen, sent=seen)
    def seal_himself(self, sent: Sent) -> Sent:
        """His signature on a tree of this one contract, under the market's name."""
        seal, (proof,) = seal_tick(HIS_MARKET, RUN, sent.seal.tick % 2**40, [sent.contract])
        return replace(sent, seal=msgspec.structs.replace(seal, market=MARKET.public), proof=proof)

    @rule(target=seen, sent=consumes(seen))
    def withhold_signature(self, sent: Sent) -> Sent:
        return replace(sent, signed=None)

    # He sends; the shard looks.

    @rule(data=st.data(), first=seen, more=st.lists(seen, max_size=4))
    def send(self, data: st.DataObject, first: Sent, more: list[Sent]) -> None:
        """One seal covers a batch, so he sends those of one seal together, in any order."""
        batch = [first, *(sent for sent in more if sent.seal == first.seal)]
        self.submit(data.draw(st.permutations(batch * data.draw(st.integers(1, 2)))))

    @rule(data=st.data(), ago=st.integers(-1, 2), more=st.lists(seen, max_size=3))
    def deliver(self, data: st.DataObject, ago: int, more: list[Sent]) -> None:
        """A tick of the market as it is, with what he has to add to it."""
        made = self.issued.get(self.now - ago, [])
        if made:
            own = [sent for sent in more if sent.seal == made[0].seal]
            self.submit(data.draw(st.permutations([*made, *own])))

    def submit(self, batch: list[Sent]) -> None:
        found = self.gate.check(
            self.now,
            [sent.contract for sent in batch],
            batch[0].seal,
            [sent.proof for sent in batch],
            [sent.signed for sent in batch],
        )
        for sent, reason in zip(batch, found.tolist(), strict=True):
            self.met[Reason(reason)] += 1
            expected = self.is_valid(sent)
            assert (reason == Reason.VALID) is expected, (Reason(reason), sent)
            if expected:
                self.used.add(sent.contract)
                self.dispatched.append((self.now, decode_contract(sent.contract).agent))

    def is_valid(self, sent: Sent) -> bool:
        if sent not in self.genuine or sent.contract in self.used:
            return False
        contract = decode_contract(sent.contract)
        return (
            contract.first_tick <= self.now <= contract.last_tick
            and contract.agent in SHARD
            and contract.agent not in self.revoked
            and (self.now, contract.agent) not in self.dispatched
        )

    @invariant()
    def at_most_one_dispatch_per_agent_and_tick(self) -> None:
        assert len(set(self.dispatched)) == len(self.dispatched)


def test_no_forgery_is_dispatched_and_no_genuine_contract_refused() -> None:
    Adversary.met.clear()
    run_state_machine_as_test(
        Adversary, settings=settings(max_examples=100, stateful_step_count=40)
    )
    # That the machine gets anywhere: it met valid contracts and most reasons.
    assert Adversary.met[Reason.VALID] > 0
    assert len(Adversary.met) > len(Reason) // 2
