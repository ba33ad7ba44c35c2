"""`swarm audit`: verify a run's audit log, and read one decision from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm.cli.ui import print_table

if TYPE_CHECKING:
    from swarm.results.audit_check import Report
    from swarm.results.decision import Decision, Sealed

REASONS = {
    "non_canonical": "a key, signature or contract is not in its canonical form",
    "wrong_run": "it is of another run",
    "wrong_signer": "somebody else signed it than this run's market and the agent itself",
    "small_order_key": "everybody could sign under the key",
    "tampered": "it is not what was signed",
    "unknown": "the agent is not of this run",
    "revoked": "the agent's key is revoked",
    "early": "its first tick is still to come",
    "expired": "its last tick has passed",
    "over_limit": "it is beyond what the agent offered",
    "replayed": "it was used before",
    "shadow": "it is valid, but in shadow mode nothing moves",
}
"""Name of a `swarm.trust.dispatch.Reason` -> in words."""


@click.group("audit")
def command() -> None:
    """Verify a run's audit log, or show one decision from it."""


@command.command("verify")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--market-key", metavar="HEX", help="The market's public key, if you know it from elsewhere."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(run_dir: Path, market_key: str | None, as_json: bool) -> int:
    """Verify the audit log of the run in RUN_DIR.

    Exit code 1 where anything does not hold; the first bad record is named. A run that was cut off
    is verified up to its newest anchor.
    """
    from swarm.results.audit_check import verify_run

    report = verify_run(run_dir, None if market_key is None else _key(market_key))
    if as_json:
        click.echo(json.dumps(report.to_dict(), sort_keys=True, allow_nan=False))
    else:
        _print_report(report)
    return 0 if report.fault is None else 1


def _key(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise click.BadParameter(
            f"expected 64 hexadecimal digits, got {text!r}", param_hint="--market-key"
        )
    return value


def _print_report(report: Report) -> None:
    tally, fault = report.tally, report.fault
    rows = [("status", report.status), ("records", f"{tally.records.total():,}")]
    rows += [(f"  {name}", f"{count:,}") for name, count in tally.records.items()]
    rows += [
        ("contracts", f"{tally.contracts:,}"),
        ("countersignatures", f"{tally.countersignatures:,}"),
        ("dispatches", f"{tally.dispatches:,}"),
        ("refusals", _counts(tally.refusals)),
        ("violations", _counts(tally.violations)),
        ("emergency steps", f"{tally.emergency_steps:,}"),
        ("same in the results", f"{report.compared:,} rows of the table of agents"),
    ]
    if tally.first_tick is not None:
        rows.append(("ticks", f"{tally.first_tick} to {tally.last_tick}"))
    if tally.records:
        print_table(f"audit log of {report.run_dir}", rows)
    for note in report.notes:
        click.echo(f"note: {note}")
    if fault is None:
        click.echo("audit log: verified")
        return
    where = "" if fault.record is None else f" at record {fault.record}"
    when = "" if fault.tick is None or not where else f" (tick {fault.tick})"
    what = fault.what
    for start in (f"record {fault.record}{when}: ", f"record {fault.record}{when} "):
        what = what.removeprefix(start)
    click.echo(f"audit log: BROKEN{where}{when}: {what}")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count) or "0"


@command.command("show")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--agent", required=True, help="The agent's id, or its index.")
@click.option("--tick", required=True, type=int, help="The interval.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def show(run_dir: Path, agent: str, tick: int, as_json: bool) -> None:
    """Show one decision of the run in RUN_DIR end to end.

    Forecast, offer, policies, contract, signatures, dispatch or refusal, meter, payment. The
    contract's proof and signatures are computed anew.
    """
    from swarm.results.decision import explain

    decision = explain(run_dir, agent, tick)
    if as_json:
        click.echo(json.dumps(decision.to_dict(), sort_keys=True, allow_nan=False))
        return
    title = f"{decision.id} ({decision.kind}, index {decision.agent}), tick {decision.tick}"
    print_table(f"{title}, {decision.starts}", _rows(decision))


def _rows(decision: Decision) -> list[tuple[str, str]]:
    log, row, currency = decision.log, decision.row or {}, decision.currency
    rows = []
    if row.get("forecast_w") is not None:
        error = row.get("forecast_error_w")
        off = "" if error is None else f", error {error:,.0f} W"
        rows.append(("forecast", f"{row['forecast_w']:,.0f} W{off}"))
    if decision.orders is None:
        rows.append(("offer", "not kept; run with --set results.orders=true"))
    elif not decision.orders:
        rows.append(("offer", "none"))
    for order in decision.orders or ():
        side = "sell" if order.side > 0 else "buy"
        price = _price(order.price_milli, currency)
        accepted = f"{order.accepted_w:,} W accepted"
        rows.append(("offer", f"{side} {order.quantity_w:,} W at {price}, {accepted}"))
    for broken in log.violations:
        asked, allowed = (
            f"{value:,} W" if broken.field == "W" else _price(value, currency)
            for value in (broken.asked, broken.allowed)
        )
        text = f"{broken.rule}: asked {asked}, allowed {allowed} (order slot {broken.slot}, "
        rows.append(("policy", f"{text}at {broken.stage})"))
    rows += _contract_rows(log.contract, currency)
    signed = log.countersignature
    if signed is not None:
        who = "its own" if signed.agents == 1 else f"by agent {signed.first} for {signed.agents}"
        rows.append(("countersignature", f"{who}, {_valid(signed.valid)}"))
    elif log.contract is not None:
        rows.append(("countersignature", "none that holds"))
    if log.dispatched_w is not None:
        rows.append(("dispatch", f"{log.dispatched_w:,} W"))
    for refused in log.refusals:
        why = REASONS.get(refused.reason, refused.reason)
        rows.append(("refused", f"at {refused.stage}, {refused.reason}: {why}"))
    rows += _result_rows(decision)
    return rows


def _contract_rows(contract: Sealed | None, currency: str) -> list[tuple[str, str]]:
    if contract is None:
        return [("contract", "none")]
    price = _price(contract.price_milli, currency)
    rows = [("contract", f"{contract.quantity_w:,} W at {price}, record {contract.record}")]
    rows += [("reserve", f"{watts:,} W {name}") for name, watts in contract.reserve_w.items()]
    proof = f"leaf {contract.leaf} of {contract.leaves}, {_valid(contract.in_tree)}"
    return [*rows, ("proof", proof), ("market's seal", _valid(contract.seal_valid))]


def _result_rows(decision: Decision) -> list[tuple[str, str]]:
    rows = []
    if decision.row is None:
        rows.append(("metered", "not in the table of agents; results.agents=full keeps every one"))
    else:
        row = decision.row
        rows.append(("schedule", f"{row['delivered_w']:,} W"))
        drawn_w = row.get("activated_w", 0) + row.get("shed_w", 0) - row.get("held_back_w", 0)
        rows.append(("metered", f"{row['delivered_w'] + drawn_w:,} W"))
        money = row["received_micro"] / 1e6
        verb = "received" if money >= 0 else "paid"
        rows.append(("payment", f"{verb} {abs(money):,.6f} {decision.currency}"))
    price = decision.price_milli
    shown = "nothing traded" if price is None else _price(price, decision.currency)
    rows.append(("clearing price", shown))
    return rows


def _price(milli: int, currency: str) -> str:
    return f"{milli / 1000:,.3f} {currency}/MWh"


def _valid(holds: bool) -> str:
    return "valid" if holds else "NOT VALID"
