"""What each index of an agent's observation is: the tables behind `observe`.

`docs/observations.md` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarm.scenario.roster import MAX_COST_STEPS

HOURS_AHEAD = {
    "generator": (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 23),
    "storage": (0, 1, 2),
    "consumer": (0, 1, 2, 4, 8, 16),
}
"""Hours of the price forecast that each vector shows; 0 is the coming hour."""
HOURS_BACK = {"generator": (0, 1, 11, 23), "storage": (0,), "consumer": (0, 23)}
"""Hours of the price history; 0 is the last hour."""
WINDOWS_AHEAD = {"generator": (), "storage": ((3, 5), (6, 11), (12, 23)), "consumer": ()}
"""First and last hours ahead of which a vector shows the highest and the lowest price: no peak is
missed between two hours that are shown."""


@dataclass(frozen=True)
class Block:
    """Neighbouring numbers of an observation."""

    name: str
    size: int
    meaning: str
    normalisation: str


_SQUEEZED, _RELATIVE, _PAID = "squeezed", "relative", "x / (|x| + |median| + spread)"
_COMMON = (
    Block("hour", 2, "sine and cosine of the time of day", "none"),
    Block("tick", 1, "length of a tick", "/ 60 minutes"),
    Block("price", 1, "last clearing price", _SQUEEZED),
    Block("price_now", 1, "last clearing price", _RELATIVE),
    Block("rank", 1, "share of the known hourly prices below the last price", "2 x - 1"),
    Block("median", 1, "median of the known hourly prices", _SQUEEZED),
    Block("spread", 1, "spread of the known hourly prices", _SQUEEZED),
    Block("range_ahead", 2, "lowest and highest price expected within 24 hours", _RELATIVE),
    Block("frequency", 1, "deviation of frequency from 50 or 60 Hz", "/ 1 % of it"),
    Block("voltage", 2, "lowest and highest voltage of the feeder", "(pu - 1) / 0.1"),
    Block("emergency", 1, "the emergency protocol is active", "0 or 1"),
    Block("reserve", 2, "reserve asked for, up and down", "/ 10 % of the load forecast"),
    Block("weather", 2, "wind and sun forecast", "/ the load forecast"),
    Block("error", 1, "stated error of the forecasts", "/ 10 % of the load forecast"),
    Block("carbon", 1, "price of a tonne of CO2", _SQUEEZED),
)
_MEMORY = (
    Block(
        "accepted", 1, "net power accepted last of what the vector is for, sale positive", "/ size"
    ),
    Block("offered", 1, "price it last offered at", _RELATIVE),
    Block(
        "received",
        1,
        "pay of the last settled interval",
        "x / (x + median + spread), per MWh of its size",
    ),
    Block("running_median", 1, "running median of the clearing prices", _RELATIVE),
)
_OWN = {
    "generator": (
        Block("available", 1, "capacity that is available", "share"),
        Block("output", 1, "last output", "/ capacity"),
        Block("running", 1, "runs", "0 or 1"),
        Block("sound", 1, "neither failed nor standing by plan", "0 or 1"),
        Block("bound", 2, "time in its state over its least up time; least down time", "2 x - 1"),
        Block("repair", 1, "hours of repair left", "/ 24 h"),
        Block("least", 1, "least output", "/ capacity"),
        Block("ramp", 1, "change of output it can make in a tick", "/ capacity"),
        Block("start", 1, "start cost per MWh of an hour at capacity", _SQUEEZED),
        Block("emissions", 1, "mean emissions", "/ 1000 kg per MWh"),
        Block("size", 1, "capacity over the load forecast", "/ 10 %"),
        Block("cost", MAX_COST_STEPS, "cost of each step with CO2", _RELATIVE),
        Block("cost_level", 2, "lowest and highest cost of a step", _SQUEEZED),
        Block("width", MAX_COST_STEPS, "width of each step", "/ capacity"),
    ),
    "storage": (
        Block("charge", 1, "energy above the floor", "2 x / (ceiling - floor) - 1"),
        Block("time_to_empty", 1, "hours of discharging at full power", "/ 12 h"),
        Block("time_to_full", 1, "hours of charging at full power", "/ 12 h"),
        Block("duration", 1, "energy over power", "/ 12 h"),
        Block("round_trip", 1, "efficiency there and back", "2 x - 1"),
        Block(
            "threshold",
            2,
            "price of the k-th dearest hour ahead, where k hours empty it; of the k-th cheapest, "
            "where k hours fill it",
            _RELATIVE,
        ),
        Block("wear", 1, "cost of discharging a MWh", "x / (x + spread)"),
        Block("power", 1, "power in the last interval, discharge positive", "/ full power"),
        Block("holding", 1, "loss of energy in a day at rest", "share"),
        Block("here", 1, "connected; a battery always is", "0 or 1"),
        Block("leaves", 1, "time to departure; 1 for a battery", "/ 24 h"),
        Block("lacking", 1, "energy lacking for the trip", "/ size"),
        Block("laxity", 1, "time it need not charge until departure; 1 for a battery", "/ 24 h"),
    ),
    "consumer": (
        Block("load", 1, "load expected", "/ load where its profile is 1, less 1"),
        Block("flexible", 1, "flexible part of the load expected", "share"),
        Block("comfort", 1, "price of a reduction", _RELATIVE),
        Block("comfort_level", 1, "price of a reduction", _SQUEEZED),
        Block("backlog", 1, "load put off", "/ what one window can hold"),
        Block("window", 1, "time left to catch up; 1 where nothing was put off", "/ window"),
        Block("shift", 1, "length of the window", "/ 24 h"),
        Block("standing", 1, "cannot respond", "0 or 1"),
    ),
}


def _ahead(vector: str) -> tuple[Block, ...]:
    later = ", ".join(f"+{hour}" for hour in HOURS_AHEAD[vector])
    before = ", ".join(f"-{hour + 1}" for hour in HOURS_BACK[vector])
    windows = WINDOWS_AHEAD[vector]
    spans = ", ".join(f"+{first} to +{last}" for first, last in windows)
    of_windows = Block(
        "windows", 2 * len(windows), f"highest, then lowest price in the hours {spans}", _RELATIVE
    )
    return (
        Block("forecast", len(HOURS_AHEAD[vector]), f"price in the hours {later}", _RELATIVE),
        *((of_windows,) if windows else ()),
        Block("history", len(HOURS_BACK[vector]), f"price in the hours {before}", _RELATIVE),
    )


BLOCKS: dict[str, tuple[Block, ...]] = {
    vector: (*_COMMON, *_ahead(vector), *own, *_MEMORY) for vector, own in _OWN.items()
}
"""Every vector, block by block."""
SIZES = {vector: sum(block.size for block in blocks) for vector, blocks in BLOCKS.items()}


VECTORS: dict[str, tuple[str, ...]] = {
    "consumer": ("consumer",),
    "ev": ("storage",),
    "generator": ("generator",),
    "home": ("storage", "consumer"),
    "solar": ("generator",),
    "storage": ("storage",),
    "wind": ("generator",),
}
"""The vectors that agents of each kind see."""
