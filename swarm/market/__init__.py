"""The market: orders on an integer grid, clearing by merit order, settlement in double entry.

`swarm.market.clear(book, price_floor=..., price_cap=...)` is the whole market for one tick.
"""

from swarm.market.clearing import MECHANISMS, Clearing, Mechanism, clear, pay_as_bid
from swarm.market.orders import BUY, SELL, OrderBook

__all__ = ["BUY", "MECHANISMS", "SELL", "Clearing", "Mechanism", "OrderBook", "clear", "pay_as_bid"]
