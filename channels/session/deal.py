"""Whether a peer's trade is a good one: the owner's judgement of a price, apart from the protocol's of its legality.

Margin protects the channel, mark policies protect the marks; neither sees that a premium is absurd. Whoever signs a
trade that it did not ask for must have a price of its own: `FairDeal` takes the owner's market for it, and a desk with
quotes of its own hands in another function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import DealDeclined
from ..model import ChannelId, Leg
from ..units import WAD, show


@dataclass(frozen=True, slots=True)
class Offer:
    """A trade, a close or a close-out that a peer proposes; everything in our view, amounts in token units.

    `legs` is what we would get (for a close or close-out: give up, so quantities are turned), `received` the cash we
    would receive, negative where we pay. `value` is what the legs are worth to us at our own marks, rounded down, and
    `gross` the sum of the legs' absolute values; both None where we have no market for them.
    """

    channel: ChannelId
    legs: tuple[Leg, ...]
    received: int
    value: int | None
    gross: int | None
    decimals: int

    @property
    def edge(self) -> int | None:
        """What the deal makes us richer by at our own marks; None where we have none."""
        return None if self.value is None else self.value + self.received


Deal = Callable[[Offer], None]
"""Returns where the owner agrees, raises DealDeclined where it does not. Called before anything is signed."""


class FairDeal:
    """Agree to what costs us no more than `slippage` (WAD) of the legs' gross value at our own marks, or one cent.

    What all deals of a channel have cost us since this object was made counts against the same limit, and what others
    earned gives no credit: else a peer could trade to and fro and take the slippage each time.
    """

    def __init__(self, slippage: int = WAD // 100) -> None:
        self._slippage = slippage
        self._spent: dict[ChannelId, int] = {}

    def __call__(self, offer: Offer) -> None:
        """Raise DealDeclined for a worse deal, and for one that we have no market for."""
        if offer.edge is None or offer.gross is None:
            raise DealDeclined("we have no market for its legs, so no price to compare: give the node a market")
        allowed = max(offer.gross * self._slippage // WAD, 10 ** max(0, offer.decimals - 2))
        cost, spent = max(0, -offer.edge), self._spent.get(offer.channel, 0)
        if cost and spent + cost > allowed:
            raise DealDeclined(
                f"at our own marks it would cost us {show(cost, offer.decimals)}, "
                f"earlier deals {show(spent, offer.decimals)}, we accept {show(allowed, offer.decimals)} together"
            )
        self._spent[offer.channel] = spent + cost


def any_deal(offer: Offer) -> None:
    """Agree to every price: for a party that checks prices elsewhere before its peer can propose."""
