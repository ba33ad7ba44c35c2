"""Experience of hosts, put together."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from swarm.agents.experience import Experience, joined, together


def lived(agents: list[int], ticks: list[int], actions: tuple[int, ...] = ()) -> Experience:
    """Every number says whose it is and when: agent * 1000 + tick."""
    mark = np.add.outer(np.array(ticks), np.array(agents) * 1000)
    wide = np.repeat(mark[:, :, None], 3, axis=2).astype(np.float32)
    return Experience(
        tick=np.array(ticks),
        agent=np.array(agents),
        observation=wide,
        action=wide[:, :, :1] if actions else mark,
        log_prob=mark.astype(np.float32),
        reward=mark.astype(np.float32),
        next_observation=wide + 1,
    )


def assert_same(one: Experience, other: Experience) -> None:
    for field in fields(Experience):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert a.dtype == b.dtype, field.name
        np.testing.assert_array_equal(a, b, err_msg=field.name)


@pytest.mark.parametrize("actions", [(), (1,)])
def test_hosts_come_in_the_order_of_their_agents(actions: tuple[int, ...]) -> None:
    ticks = [4, 5]
    whole = lived([7, 8, 9, 10, 11], ticks, actions)
    parts = [lived(part, ticks, actions) for part in ([10, 11], [7], [8, 9])]
    assert_same(joined(parts), whole)
    assert_same(joined([whole]), whole)
    assert len(whole) == 2


@pytest.mark.parametrize("ticks", [[4, 5, 6], [5, 6]])
def test_hosts_at_different_ticks_are_refused(ticks: list[int]) -> None:
    with pytest.raises(ValueError, match="different ticks: expected the same ones of all hosts"):
        joined([lived([1], [4, 5]), lived([2], ticks)])


def test_kinds_and_networks_are_kept_apart() -> None:
    ticks = [0]
    power, share = lived([5], ticks, (1,)), lived([5], ticks)
    hosts = [
        {"home": {"storage": power, "consumer": share}},
        {"wind": {"generator": lived([9], ticks)}},
        {},
        {
            "home": {
                "storage": lived([3], ticks, (1,)),
                "consumer": replace(lived([3], ticks), reward=np.full((1, 1), 8, np.float32)),
            }
        },
    ]
    found = together(hosts)
    assert {kind: sorted(networks) for kind, networks in found.items()} == {
        "home": ["consumer", "storage"],
        "wind": ["generator"],
    }
    assert_same(found["home"]["storage"], lived([3, 5], ticks, (1,)))
    np.testing.assert_array_equal(found["home"]["consumer"].reward, [[8, 5000]])
    assert together([{}, {}]) == {}
