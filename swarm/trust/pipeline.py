"""How policies are composed: `trader | policy_check("max_discharge") | dispatch`.

The composition is data: it prints as it is written, keeps its order, and its types refuse a
dispatch without checks or a check after the dispatch (for no rules at all, pass `Checks(())`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, overload

import numpy as np

from swarm.errors import UsageError
from swarm.trust.records import POWER, PRICE, Violations
from swarm.trust.rules import COUNT, REFUSE, Limit, Proposal, Rule, ShardView, rule_of

Moved = TypeVar("Moved")
Rows = tuple[np.ndarray, ...]
"""The columns of some rows of `Violations`."""


@dataclass(frozen=True)
class Verdict:
    """What checks let through.

    Attributes:
        allowed: of what was asked.
        violations: a row per order, rule and field that changed, or was only counted.
    """

    allowed: Proposal
    violations: Violations


@dataclass(frozen=True)
class Outcome(Generic[Moved]):
    """What a pipeline did.

    Attributes:
        asked: what the trader wanted.
        allowed: what the checks let through.
        violations: what they did not.
        moved: what the dispatch gave; None in shadow mode, where nothing is dispatched.
    """

    asked: Proposal
    allowed: Proposal
    violations: Violations
    moved: Moved | None


@dataclass(frozen=True)
class Checks:
    """Rules in the order in which they are asked; each sees what the one before it let through.

    The order of clipping rules on sums does not matter where they cover the same orders or have
    none in common. Else ask the narrow rule first: `max_discharge` before `max_ramp_up`, which
    shares out what is left.
    """

    rules: tuple[Rule, ...]

    def __or__(self, other: Checks) -> Checks:
        if not isinstance(other, Checks):
            return NotImplemented
        return Checks(self.rules + other.rules)

    def __str__(self) -> str:
        return " | ".join(f'policy_check("{rule.name}")' for rule in self.rules)

    def decide(
        self, asked: Proposal, view: ShardView, stage: Literal["offer", "dispatch"] = "offer"
    ) -> Verdict:
        """What the rules allow of `asked`, and each violation.

        A rule for which `view.limits` has nothing lets everything through.

        Args:
            asked: n agents, k slots.
            view: of the same agents.
            stage: what is asked: orders, or what was accepted of them.

        Raises:
            ValueError: where shapes differ from the view's agents and slots.
        """
        expected = (len(view.agent), len(view.uses))
        if asked.quantity_w.shape != expected:
            raise ValueError(
                f"proposal: expected shape {expected} (agents, slots), got {asked.quantity_w.shape}"
            )
        rows: list[Rows] = []
        allowed = asked
        for index, rule in enumerate(self.rules):
            limit = view.limits.get(rule.name)
            if limit is not None:
                before, clipped = allowed, _clipped(rule, allowed, view, limit)
                if clipped is not before:
                    allowed = _by_mode(before, clipped, limit)
                    rows += _changes(index, (before, clipped, allowed), view, limit)
        names = tuple(rule.name for rule in self.rules)
        return Verdict(allowed, _violations(view.tick, stage, names, rows))


@dataclass(frozen=True)
class Dispatch(Generic[Moved]):
    """The end of a pipeline: acts on what the checks let through."""

    name: str
    act: Callable[[Proposal], Moved]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Shadow(Generic[Moved]):
    """Shadow mode: everything is decided and recorded, nothing moves."""

    dispatch: Dispatch[Moved]

    def __str__(self) -> str:
        return f"Shadow({self.dispatch})"


@dataclass(frozen=True)
class Trader:
    """The start of a pipeline: proposes orders from what it sees."""

    name: str
    propose: Callable[[ShardView], Proposal]

    def __or__(self, other: Checks) -> Checked:
        if not isinstance(other, Checks):
            return NotImplemented
        return Checked(self, other)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Checked:
    """A trader and its checks, not yet dispatched."""

    trader: Trader
    checks: Checks

    @overload
    def __or__(self, other: Checks) -> Checked: ...
    @overload
    def __or__(self, other: Dispatch[Moved] | Shadow[Moved]) -> Pipeline[Moved]: ...
    def __or__(self, other: Checks | Dispatch[Moved] | Shadow[Moved]) -> Checked | Pipeline[Moved]:
        if isinstance(other, Checks):
            return Checked(self.trader, self.checks | other)
        if not isinstance(other, Dispatch | Shadow):
            return NotImplemented
        return Pipeline(self.trader, self.checks, other)

    def __str__(self) -> str:
        return " | ".join(text for text in (str(self.trader), str(self.checks)) if text)


@dataclass(frozen=True)
class Pipeline(Generic[Moved]):
    """A whole composition."""

    trader: Trader
    checks: Checks
    dispatch: Dispatch[Moved] | Shadow[Moved]

    def run(self, view: ShardView) -> Outcome[Moved]:
        """Propose, check, dispatch."""
        asked = self.trader.propose(view)
        verdict = self.checks.decide(asked, view)
        moved = None
        if isinstance(self.dispatch, Dispatch):
            moved = self.dispatch.act(verdict.allowed)
        return Outcome(asked, verdict.allowed, verdict.violations, moved)

    def __str__(self) -> str:
        return f"{Checked(self.trader, self.checks)} | {self.dispatch}"


def policy_check(rule: str | Rule) -> Checks:
    """A check of one rule; its limits come with the view.

    Raises:
        UsageError: where there is no such rule.
    """
    return Checks((rule_of(rule) if isinstance(rule, str) else rule,))


def _clipped(rule: Rule, asked: Proposal, view: ShardView, limit: Limit) -> Proposal:
    """What one rule allows, whatever happens to the rest."""
    if limit.value.shape != view.agent.shape:
        raise UsageError(
            f"policy {rule.name}: limits of {len(limit.value)} agents, expected {len(view.agent)}"
        )
    return rule.check(asked, view, limit.value)


def _by_mode(asked: Proposal, clipped: Proposal, limit: Limit) -> Proposal:
    """What is let through: clipped, or whole orders refused or left as they are."""
    changed = (clipped.quantity_w != asked.quantity_w) | (clipped.price_milli != asked.price_milli)
    refused = changed & (limit.mode == REFUSE)[:, None]
    kept = changed & (limit.mode == COUNT)[:, None]
    quantity = np.where(kept, asked.quantity_w, clipped.quantity_w)
    return Proposal(
        np.where(refused | kept, asked.price_milli, clipped.price_milli),
        np.where(refused, 0, quantity),
    )


def _changes(
    index: int, steps: tuple[Proposal, Proposal, Proposal], view: ShardView, limit: Limit
) -> list[Rows]:
    """Rows of `Violations` of one rule; `steps` are what was asked, clipped and let through."""
    rows: list[Rows] = []
    counts = (limit.mode == COUNT)[:, None]
    for field, (asked, clipped, allowed) in (
        (POWER, [step.quantity_w for step in steps]),
        (PRICE, [step.price_milli for step in steps]),
    ):
        row, slot = np.nonzero((asked != allowed) | ((asked != clipped) & counts))
        if len(row):
            rule, of = np.full(len(row), index), np.full(len(row), field)
            changed = asked[row, slot], allowed[row, slot]
            rows.append((view.agent[row], slot, rule, of, *changed))
    return rows


def _violations(
    tick: int, stage: Literal["offer", "dispatch"], names: tuple[str, ...], rows: list[Rows]
) -> Violations:
    columns = {}
    for at, (name, (dtype, _)) in enumerate(Violations.COLUMNS.items()):
        parts = [part[at] for part in rows]
        columns[name] = np.concatenate([np.zeros(0, dtype), *parts]).astype(dtype)
    return Violations(tick, stage, names, **columns)
