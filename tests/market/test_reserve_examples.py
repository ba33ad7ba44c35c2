"""Reserve, response and a lost connection in money, worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from swarm.market.auctioneer import Market
from swarm.market.orders import BUY, SELL, WATTS_PER_MW
from swarm.market.outside import Connection
from swarm.messages import NO_RESERVE, Drawn, Meters, Response, StepReply, no_meters

from .oracle import Order
from .reserve_cases import Offer, offer_table, order_table, spec

MW = WATTS_PER_MW


def test_an_hour_of_three_units_by_hand() -> None:
    """A 15 minute tick of three units and 150 MW of load, to the cent.

    Unit 0 sells 100 MW at 20, unit 1 100 MW at 40, battery 2 sells 50 MW at 60 and buys 50 MW at
    30; none has power to spare. Asked: 30 MW containment up, 40 MW restoration up, 20 MW down.
    """
    orders = [
        Order(SELL, 20_000, 100 * MW, 0),
        Order(SELL, 40_000, 100 * MW, 1),
        Order(SELL, 60_000, 50 * MW, 2),
        Order(BUY, 30_000, 50 * MW, 2),
        Order(BUY, 3_000_000, 150 * MW, 3),
    ]
    offers = [
        Offer(0, 0, 20 * MW, 25_000, 20_000, 0),
        Offer(0, 2, 10 * MW, 2_000, 20_000, 0),
        Offer(1, 0, 20 * MW, 5_000, 40_000, 0),
        Offer(2, 0, 20 * MW, 8_000, 70_000, 0),
        Offer(2, 2, 20 * MW, 0, 65_000, 0),
        Offer(2, 3, 20 * MW, 1_000, 30_000, 0),
    ]
    at = Market(spec(4, tick_minutes=15, outside=Connection.none(1), reserve_penalty_factor=3.0))
    asked = (30 * MW, 0, 40 * MW, 20 * MW)
    sent = [StepReply(0, order_table(orders), None, offer_table(offers))]
    _, _, (notice,) = at.clear(0, sent, Drawn(0, asked, True, 0, 0, None))
    # Containment: 20 of unit 1 at 5, 10 of the battery at 8. Restoration up is 10 MW short.
    assert notice.reserve_w.tolist() == [0, 10 * MW, 20 * MW, 10 * MW, 20 * MW, 20 * MW]
    # 90 MW are left of unit 0, all sold; unit 1 sets 40 with 60 of its 80 MW.
    assert notice.accepted_w.tolist() == [90 * MW, 60 * MW, 0, 0, 150 * MW]

    columns = no_meters(4)
    # Unit 1 is 10 MW short and holds 15 of its 20 MW; 8 MW of the battery and 2 MW shed make up.
    columns["delivered_w"] = np.array([90, 50, 0, -150]) * MW
    columns["containment_up_w"] = np.array([0, 15, 10, 0]) * MW
    columns["restoration_up_w"] = np.array([10, 0, 20, 0]) * MW
    columns["restoration_down_w"] = np.array([0, 0, 20, 0]) * MW
    drew = Response(np.array([0, 0, 8, 0]) * MW, np.array([0, 0, 0, 2]) * MW, np.zeros(4, int))
    sent = [StepReply(1, order_table([]), Meters(**columns))]
    _, record, (notice,) = at.clear(1, sent, Drawn(1, NO_RESERVE, True, 0, 0, drew))
    assert record is not None
    assert record.book is not None
    assert record.book.quantity.tolist() == [90 * MW, 80 * MW, 20 * MW, 30 * MW, 150 * MW]
    assert record.price_milli == 40_000
    assert record.reserve_asked_w == asked
    assert record.reserve_bought_w == (30 * MW, 0, 30 * MW, 20 * MW)
    assert record.reserve_price_milli == (8_000, None, 50_000, 1_000)
    # Availability: 10 x 50 | 15 x 8 | 10 x 8 + 20 x 50 + 20 x 1, each for a quarter of an hour.
    assert record.availability_micro == 125_000_000 + 30_000_000 + 275_000_000
    # Activation: 8 MW at its own price upwards, 70, and 2 MW shed at 40.
    assert record.activation_micro == 140_000_000 + 20_000_000
    # 5 MW were not there: 5 x 40 x 3 for a quarter of an hour, as energy is dearer than reserve.
    assert record.reserve_penalty_micro == 150_000_000
    cents = [
        900_00 + 125_00,
        600_00 - 150_00 + 30_00 - 150_00,
        140_00 + 20_00 + 250_00 + 5_00,
        -1500_00 + 20_00,
    ]
    assert record.received_micro.tolist() == [cent * 10_000 for cent in cents]
    assert record.reserve_received_micro.tolist() == [
        125_000_000,
        -120_000_000,
        415_000_000,
        20_000_000,
    ]
    assert record.operator_micro == -290_000_000
    assert (record.rounding_micro, record.outside_micro) == (0, 0)
    assert notice.received_micro.tolist() == record.received_micro.tolist()


@pytest.mark.parametrize(
    ("drew", "cents"),
    [
        # Down at its own 30 where it sold down, at the price of 40 where it did not.
        (Response(np.array([-8, 0]) * MW, np.zeros(2, int), np.zeros(2, int)), [-240_00, 0]),
        (Response(np.array([0, -8]) * MW, np.zeros(2, int), np.zeros(2, int)), [0, -320_00]),
        # Sold downwards only: upwards it gets the price.
        (Response(np.array([8, 0]) * MW, np.zeros(2, int), np.zeros(2, int)), [320_00, 0]),
        (Response(np.zeros(2, int), np.array([0, 3]) * MW, np.zeros(2, int)), [0, 120_00]),
        (Response(np.zeros(2, int), np.zeros(2, int), np.array([3, 0]) * MW), [-120_00, 0]),
    ],
    ids=["down_sold", "down_unsold", "up_unsold", "shed", "held_back"],
)
def test_what_the_operator_draws_by_hand(drew: Response, cents: list[int]) -> None:
    """An hour at 40; agent 0 sold 10 MW of restoration down at an energy price of 30."""
    at = Market(spec(2, tick_minutes=60, outside=Connection.none(1)))
    orders = [Order(SELL, 40_000, 20 * MW, 0), Order(BUY, 90_000, 10 * MW, 1)]
    offers = offer_table([Offer(0, 3, 10 * MW, 0, 30_000, 20 * MW)])
    asked = (0, 0, 0, 10 * MW)
    at.clear(
        0, [StepReply(0, order_table(orders), None, offers)], Drawn(0, asked, True, 0, 0, None)
    )
    columns = no_meters(2)
    columns["delivered_w"] = np.array([10, -10]) * MW
    columns["restoration_down_w"] = np.array([10, 0]) * MW
    sent = [StepReply(1, order_table([]), Meters(**columns))]
    _, record, (notice,) = at.clear(1, sent, Drawn(1, NO_RESERVE, True, 0, 0, drew))
    assert record is not None
    assert record.reserve_received_micro.tolist() == [cent * 10_000 for cent in cents]
    # Not a deviation: beyond that there is the contract alone, and no penalty.
    contract = record.received_micro - record.reserve_received_micro
    assert contract.tolist() == [400_000_000, -400_000_000]
    assert record.activation_micro == sum(cents) * 10_000
    assert notice.response is not None
    assert notice.response.activated_w.tolist() == drew.activated_w.tolist()


@pytest.mark.parametrize(("connected", "traded", "reference"), [(True, 5, 90), (False, 0, 0)])
def test_a_lost_connection_trades_nothing(connected: bool, traded: int, reference: int) -> None:
    """What flowed in is what the operator says, 2 MW here; it is paid at the reference price."""
    outside = replace(Connection.none(1), import_limit_w=5 * MW, price_per_mwh=np.array([90.0]))
    at = Market(spec(1, outside=outside, tick_minutes=60))
    bid = [Order(BUY, 100_000, 5 * MW, 0)]
    at.clear(0, [StepReply(0, order_table(bid), None)], Drawn(0, NO_RESERVE, connected, 0, 0, None))
    columns = no_meters(1)
    columns["delivered_w"] = np.array([-4 * MW])
    sent = [StepReply(1, order_table([]), Meters(**columns))]
    _, record, _ = at.clear(1, sent, Drawn(1, NO_RESERVE, connected, 2 * MW, 0, None))
    assert record is not None
    assert record.imported_w == traded * MW
    assert record.orders == 1 + connected
    assert record.imbalance_price_milli == reference * 1_000
    assert record.outside_micro == 2 * reference * 1_000_000


def test_what_is_drawn_must_be_of_the_tick() -> None:
    at = Market(spec(1))
    with pytest.raises(ValueError, match=r"drawn\.tick = 3, expected 0"):
        at.clear(0, [StepReply(0, order_table([]), None)], Drawn(3, NO_RESERVE, True, 0, 0, None))
