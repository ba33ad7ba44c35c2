"""What an interval was worth to the operator, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from swarm.grid.balance import Balance
from swarm.grid.reward import reward
from swarm.market.outside import Connection
from swarm.market.record import Cleared
from tests.grid.grids import metered

OUTSIDE = Connection(10**9, 10**9, np.array([1000.0, 1000.0, 60.0]), 8.0, 25.0, 0)


def worth(**given: Any) -> list[float]:
    """Of tick 2, half an hour in which 200 MW were served for 5,000 $ and 40 t."""
    values: dict[str, Any] = {
        **dict.fromkeys(Balance.__struct_fields__[1:13], 0),
        "load_w": 200_000_000,
        "outside_100_mhz_s": 0.0,
        **given,
    }
    cleared = Cleared(
        tick=2,
        price_milli=50_000,
        volume_w=1,
        reserve_bought_w=values.pop("bought_w", (0, 0, 0, 0)),
        reserve_price_milli=(2_000, 4_000, None, 10_000),
    )
    meters = replace(
        metered(load_w=[150, 50]),
        cost_micro=np.array([2_000_000_000, 3_000_000_000]),
        emissions_g=np.array([40_000_000, 0]),
    )
    return reward(Balance(tick=2, **values), meters, cleared, OUTSIDE, 30, 400.0).tolist()


def test_a_quiet_interval_is_worth_its_cost_and_emissions_per_mwh() -> None:
    # 100 MWh: 50 $ and 0.4 t a MWh.
    assert worth() == pytest.approx([1.0, -0.5, -0.4])


def test_stability_is_time_in_band_less_ten_times_the_share_not_served() -> None:
    assert worth(outside_100_mhz_s=450.0)[0] == pytest.approx(0.75)
    assert worth(outside_100_mhz_s=450.0, unserved_w=10_000_000)[0] == pytest.approx(0.25)
    assert worth(outside_100_mhz_s=1800.0, unserved_w=200_000_000)[0] == -10.0


def test_imports_cost_their_price_with_the_premium_and_bring_their_emissions() -> None:
    # 10 MWh at 68 $ on 100 MWh of load; 4 t.
    assert worth(import_w=20_000_000) == pytest.approx([1.0, -0.568, -0.44])


def test_exports_earn_their_price_less_the_discount() -> None:
    assert worth(export_w=20_000_000) == pytest.approx([1.0, -0.465, -0.4])


def test_reserve_costs_what_was_paid_for_holding_it() -> None:
    # 50 MW at 2 and 30 MW at 10, for half an hour: 200 $.
    bought = (50_000_000, 0, 0, 30_000_000)
    assert worth(bought_w=bought)[1] == pytest.approx(-0.52)


def test_without_load_no_objective_is_without_bound() -> None:
    assert worth(load_w=0, unserved_w=5)[1:] == [-10.0, -10.0]
