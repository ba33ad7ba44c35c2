"""Verification of a run's audit log: chain, anchor, signatures, contents, keys, result tables.

A run that finished is verified whole: its newest anchor counts every record, and every contract is
dispatched or refused. A run that was cut off is verified up to its newest anchor. Records after
that one which chain on, and a last one torn by the crash, are counted and no fault: nobody vouches
for them, and nobody claims that they are there. Damage among them is a fault all the same, since
no crash does that.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from swarm.errors import UsageError
from swarm.messages import Int
from swarm.results.audit import ANCHOR, LOG, PUBLIC_KEYS, read_public_keys
from swarm.results.audit_contents import ContractsInTables, Tally, contract_rows
from swarm.results.run import FINISHED, MANIFEST, read_run
from swarm.trust.anchor import Anchor
from swarm.trust.contracts import RUN_ID_BYTES
from swarm.trust.keys import PUBLIC_BYTES, Purpose, key_fault, market_key, simulation_keys, verify
from swarm.trust.signatures import Signatures
from swarm.trust.verify import Check, Fault, FaultCode, Pairs, Verified, verify_log

PURPOSES = {
    "per_agent": Purpose.COUNTERSIGNATURE,
    "per_shard": Purpose.SHARD_COUNTERSIGNATURE,
}


class TrustFacts(msgspec.Struct, frozen=True):
    """What the manifest says of a run's signatures, its `trust` section."""

    run_id: str
    """64 hexadecimal digits."""
    signatures: Literal["per_agent", "per_shard"]
    """Who countersigns: each agent, or the first of a block of neighbours for all of them."""
    keys: Literal["seed", "folder"]
    """Where the keys are from: derived from the seed, or a folder."""
    market_public_key: str
    """64 hexadecimal digits."""
    public_keys_sha256: str
    """Of the file of public keys."""
    shadow: bool = False
    """Contracts were signed but not acted on."""
    anchor: dict[str, Any] | None = None
    """The last anchor; None where the run was cut off before there was one."""


@dataclass(frozen=True)
class Report:
    """What verification found.

    Attributes:
        run_dir: the run's folder.
        status: of the run.
        fault: the first fault; None: all holds.
        tally: what the log holds, where it could be read.
        anchored: records that the anchor counts; 0 where the log could not be read.
        beyond: records after those that nobody vouches for, where the run was cut off.
        compared: rows of the table of agents that were compared with contracts.
        notes: what the reader has to know to judge the result.
    """

    run_dir: Path
    status: str
    fault: Fault | None
    tally: Tally
    anchored: int
    beyond: int
    compared: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        fault = self.fault
        return {
            "run_dir": str(self.run_dir),
            "status": self.status,
            "verified": fault is None,
            "fault": None
            if fault is None
            else {
                "code": fault.code.value,
                "record": fault.record,
                "tick": fault.tick,
                "what": fault.what,
            },
            **self.tally.to_dict(),
            "anchored": self.anchored,
            "beyond": self.beyond,
            "compared": self.compared,
            "notes": list(self.notes),
        }


class _Unsound(Exception):
    """What the run says of itself does not hold together."""


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """The manifest of a run, whatever its status.

    Raises:
        UsageError: where it is not a run's folder, or its manifest cannot be read.
    """
    path = run_dir / MANIFEST
    if not path.is_file():
        # Its message knows what the folder is instead.
        read_run(run_dir)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: damaged: {error}") from None
    if not isinstance(manifest, dict):
        raise UsageError(f"{path}: damaged: not a JSON object")
    return manifest


def trust_facts(run_dir: Path, manifest: dict[str, Any]) -> TrustFacts:
    """The `trust` section of a manifest.

    Raises:
        UsageError: where there is none, or it is not well formed.
    """
    given = manifest.get("trust")
    if given is None:
        if (run_dir / LOG).exists():
            raise UsageError(f"there is {LOG}, but {MANIFEST} has no section trust")
        raise UsageError(
            f"{run_dir}: this run kept no audit log, because trust.signatures is none; run it "
            "again with --set trust.signatures=auto"
        )
    try:
        facts = msgspec.convert(given, TrustFacts)
    except msgspec.ValidationError as error:
        raise UsageError(f"{run_dir / MANIFEST}: trust: {error}") from None
    _bytes(facts, "run_id", RUN_ID_BYTES)
    _bytes(facts, "market_public_key", PUBLIC_BYTES)
    return facts


def _bytes(facts: TrustFacts, name: str, size: int) -> bytes:
    text = getattr(facts, name)
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != size or value.hex() != text:
        raise UsageError(
            f"{MANIFEST}: trust.{name}: expected {2 * size} lower-case hexadecimal digits, "
            f"got {text!r}"
        )
    return value


def verify_run(run_dir: Path, market_public_key: bytes | None = None) -> Report:
    """Verify the audit log of a run.

    Args:
        run_dir: the run's folder.
        market_public_key: the market's, known from elsewhere; None: the one the run names.

    Raises:
        UsageError: where it is not a run's folder, kept no log, or the key is none.
    """
    manifest = read_manifest(run_dir)
    if market_public_key is not None and (fault := key_fault(market_public_key)) is not None:
        raise UsageError(f"market's public key: {market_public_key.hex()} {fault.value}")
    if manifest.get("trust") is None and not (run_dir / LOG).exists():
        trust_facts(run_dir, manifest)
    return _Verification(run_dir, manifest, market_public_key).report()


class _Verification:
    """One run under verification."""

    def __init__(self, run_dir: Path, manifest: dict[str, Any], known: bytes | None) -> None:
        self._run_dir, self._manifest, self._known = run_dir, manifest, known
        self._status = str(manifest.get("status"))
        self._finished = self._status == FINISHED
        self._tally = Tally()
        self._notes: list[str] = []
        self._compared = 0

    def report(self) -> Report:
        """Verify everything; the first fault ends it."""
        found: Verified | Fault
        try:
            found = self._verify()
        except (_Unsound, UsageError) as error:
            found = Fault(FaultCode.RUN, None, None, str(error))
        fault = found if isinstance(found, Fault) else None
        held = found if isinstance(found, Verified) else Verified(0, b"", {})
        if fault is None and not self._finished:
            torn = ", then a torn one" if held.torn else ""
            self._notes.append(
                f"the run's status is {self._status!r}: verified up to its newest anchor, which "
                f"counts {held.count} records; {held.beyond} after it chain on{torn}, and nobody "
                "vouches for them"
            )
        return Report(
            self._run_dir,
            self._status,
            fault,
            self._tally,
            held.count,
            held.beyond,
            self._compared,
            tuple(self._notes),
        )

    def _verify(self) -> Verified | Fault:
        run_dir, facts = self._run_dir, self._facts()
        # Before the log is read: a run that goes on adds to it meanwhile.
        anchor = self._anchor(facts)
        market = self._market(facts)
        ids, public_keys = self._public_keys(facts)
        checks: list[Check] = [
            Signatures(
                anchor.run,
                market,
                dict(enumerate(public_keys)),
                PURPOSES[facts.signatures],
            ),
            Pairs(self._finished),
            self._tally,
        ]
        listed = self._listed(ids)
        tables = None
        if not isinstance(listed, str) and not facts.shadow:
            tables = ContractsInTables(contract_rows(run_dir), listed, self._finished)
            checks.append(tables)
        found = verify_log(
            run_dir / LOG,
            anchor,
            partial(verify, market, Purpose.ANCHOR),
            checks,
            cut_off=not self._finished,
        )
        if tables is not None:
            self._compared = tables.compared
        if isinstance(listed, str) and isinstance(found, Verified):
            raise _Unsound(listed)
        return found

    def _facts(self) -> TrustFacts:
        facts = trust_facts(self._run_dir, self._manifest)
        if facts.shadow:
            self._notes.append(
                "shadow mode: nothing was dispatched on these contracts, so they are not compared "
                "with the result tables"
            )
        return facts

    def _anchor(self, facts: TrustFacts) -> Anchor:
        path = self._run_dir / ANCHOR
        try:
            anchor = Anchor.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise _Unsound(f"{ANCHOR}: {error.strerror or error}") from None
        except ValueError as error:
            raise _Unsound(f"{ANCHOR}: damaged: {error}") from None
        except UsageError as error:
            raise _Unsound(f"{ANCHOR}: damaged: {error}") from None
        if anchor.run.hex() != facts.run_id:
            raise _Unsound(f"{ANCHOR} is of run {anchor.run.hex()}, {MANIFEST} of {facts.run_id}")
        if facts.anchor is None:
            if self._finished:
                raise _Unsound(f"{MANIFEST}: trust.anchor is missing, though the run finished")
            return anchor
        other = Anchor.from_dict(facts.anchor)
        # A crash leaves the manifest with an earlier one; nothing leaves it with a later one.
        if other != anchor and (self._finished or other.count >= anchor.count):
            raise _Unsound(
                f"{ANCHOR} and {MANIFEST} do not agree: records {anchor.count} and {other.count}, "
                f"heads {anchor.head.hex()[:16]} and {other.head.hex()[:16]}"
            )
        return anchor

    def _market(self, facts: TrustFacts) -> bytes:
        named = _bytes(facts, "market_public_key", PUBLIC_BYTES)
        if self._known is not None and self._known != named:
            raise _Unsound(f"the run names {named.hex()} as the market's key, not the one given")
        if facts.keys == "seed":
            if market_key(self._seed()).public != named:
                raise _Unsound("the market's key is not the one that the seed gives")
            self._notes.append(
                "the keys are derived from the seed: they detect damage, not an adversary, who "
                "can derive them too"
            )
        elif self._known is None:
            self._notes.append(
                "the keys are those that the run itself names: an adversary could have replaced "
                "them; compare the market's key with one from elsewhere by --market-key"
            )
        else:
            self._notes.append(
                "the agents' keys are those that the run names, in a file of SHA-256 "
                f"{facts.public_keys_sha256}; compare it with a copy"
            )
        return named

    def _seed(self) -> int:
        seed = self._manifest.get("seed")
        if type(seed) is not int:
            raise _Unsound(f"{MANIFEST}: seed: expected a whole number, got {seed!r}")
        return seed

    def _public_keys(self, facts: TrustFacts) -> tuple[list[str], list[bytes]]:
        path = self._run_dir / PUBLIC_KEYS
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise _Unsound(f"{PUBLIC_KEYS}: {error.strerror or error}") from None
        if found != facts.public_keys_sha256:
            raise _Unsound(f"{PUBLIC_KEYS}: its SHA-256 is not the one in {MANIFEST}")
        ids, keys = read_public_keys(self._run_dir)
        if facts.keys == "seed":
            expected = simulation_keys(self._seed(), 0, len(keys))
            for name, public, key in zip(ids, keys, expected, strict=True):
                if public != key.public:
                    raise _Unsound(
                        f"{PUBLIC_KEYS}: the key of {name!r} is not the one that the seed gives"
                    )
        return ids, keys

    def _listed(self, ids: list[str]) -> Int | str:
        """The agents in the table of agents; in words where the tables are damaged."""
        try:
            registry = read_run(self._run_dir, unfinished=True).registry
        except UsageError as error:
            return str(error)
        if registry.column("id").to_pylist() != ids:
            return f"{PUBLIC_KEYS} and the registry do not name the same agents"
        return np.flatnonzero(registry.column("in_agents_table").to_numpy())
