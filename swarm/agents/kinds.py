"""The agent kinds by name. Each is a module of the same shape; this table is the only register."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from swarm.agents import consumer, ev, generator, home, solar, storage, wind
from swarm.agents.device import Device
from swarm.agents.reserve import ReserveShape
from swarm.agents.view import Interval, View
from swarm.messages import Float, Int, Meters, Response
from swarm.scenario.roster import Roster
from swarm.trust.rules import Use


class Kind(Protocol):
    """What the module of an agent kind provides; n is the number of agents of a shard."""

    @property
    def ACTION(self) -> tuple[str, ...]:
        """Names of the columns of an action."""

    @property
    def SIDES(self) -> tuple[int, ...]:
        """Side of each order slot, `SELL` or `BUY`."""

    @property
    def USES(self) -> tuple[Use, ...]:
        """What each order slot is for, as policies see it."""

    @property
    def FLEXIBLE(self) -> bool:
        """True: trades and responds at will; the action of zeros then means that it does not."""

    def build(self, roster: Roster) -> Any:
        """Parameters as arrays, from the assets of the roster."""

    def series(self, roster: Roster) -> dict[str, tuple[str, ...]]:
        """World series each agent needs: role -> series name per agent."""

    def start(self, p: Any) -> Any:
        """State before the first tick."""

    def device(self, p: Any, s: Any, hours: float, hour_of_day: float) -> Device:
        """What the rules of policies need to know before a tick.

        Args:
            p: see `build`.
            s: at the end of the interval before it.
            hours: length of the tick.
            hour_of_day: local clock at its start.
        """

    def heuristic(self, p: Any, s: Any, view: View) -> Float:
        """Action of the heuristic policy, float64 (n, len(ACTION))."""

    def random(self, p: Any, s: Any, view: View) -> Float:
        """Action of the random policy, float64 (n, len(ACTION))."""

    def offer(self, p: Any, s: Any, view: View, action: Float) -> tuple[Float, Int]:
        """Prices per MWh and quantities in watts of the order slots, (n, len(SIDES)) each."""

    def reserve(
        self, p: Any, s: Any, view: View, price: Float, quantity: Int
    ) -> ReserveShape | None:
        """Reserve beside what `offer` just gave; None: nobody has any."""

    def deliver(self, p: Any, s: Any, interval: Interval) -> Meters:
        """Run the devices through one interval and meter what they did.

        Where `interval.physical`, headroom and sudden changes too.
        """

    def respond(
        self, p: Any, s: Any, response: Response, hours: float, carbon: float
    ) -> tuple[Int, Int]:
        """Correct the state for what the operator drew in the interval last delivered.

        Returns:
            Cost (micro-currency) and emissions (g) of it, int64 (n,) each.
        """


KINDS: Mapping[str, Kind] = {
    "consumer": consumer,
    "ev": ev,
    "generator": generator,
    "home": home,
    "solar": solar,
    "storage": storage,
    "wind": wind,
}
