"""What the trained policy owes on top of what every policy does; none was trained here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from swarm.agents.experience import together
from swarm.agents.kinds import KINDS
from swarm.agents.policy import Exploration
from swarm.agents.shard import Shard
from swarm.errors import RunError
from swarm.learning.files import load_policies, save_policies
from tests.contract.rough import (
    EXPLORES,
    run,
    same,
    spec_of,
    steps,
    view_of,
    weights_of,
    with_weights,
)

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize(("policies", "exploration"), [(1, None), (7, None), (7, EXPLORES)])
def test_any_packing_gives_the_same_bytes_and_experience(
    kind: str, policies: int, exploration: Exploration | None
) -> None:
    """With one policy for all and with one for each."""
    spec = with_weights(spec_of(kind, "trained"), weights_of(kind, policies), exploration)
    ticks = 24
    whole, hosts = run(spec, (), ticks)
    lived = hosts[0].experience()
    assert (kind in lived) == (exploration is not None)
    for cuts in ((1, 2, 3, 4, 5, 6), (2, 5)):
        replies, parts = run(spec, cuts, ticks)
        assert same(whole, replies), cuts
        found = together([host.experience() for host in parts])
        assert found.keys() == lived.keys()
        for network, part in lived.get(kind, {}).items():
            for name, array in vars(part).items():
                assert getattr(found[kind][network], name).tobytes() == array.tobytes(), name


@every_kind
def test_weights_that_were_saved_act_to_the_same_bytes(kind: str, tmp_path: Path) -> None:
    spec = spec_of(kind, "trained")
    save_policies(tmp_path, {kind: weights_of(kind, 1)}, {})
    read = with_weights(spec, load_policies(tmp_path).policies[kind])
    assert same(run(spec, (), 30)[0], run(read, (), 30)[0])


@pytest.mark.parametrize("kind", ["consumer", "ev", "home", "storage"])
def test_agents_act_on_what_they_remember(kind: str) -> None:
    """Those whose actions are numbers; of the others the best level may well stay the best."""
    old, new = (Shard(spec_of(kind, "trained")) for _ in range(2))
    steps(old, range(20))
    views = [view_of(old, tick) for tick in range(20, 40)]
    changed = [
        not np.array_equal(old.policy.act(old.state, view), new.policy.act(old.state, view))
        for view in views
    ]
    assert any(changed)


@every_kind
def test_nobody_acts_without_weights(kind: str) -> None:
    bare = Shard(replace(spec_of(kind, "trained"), learned=None))
    with pytest.raises(RunError, match=f"'trained' of {kind} was given no weights"):
        bare.policy.act(bare.state, view_of(bare, 0))
