"""The peer's edge, sans-IO: bytes in, authenticated events to the core, effects out."""

from .deal import Deal, FairDeal, Offer, any_deal
from .handshake import Handshake, Role
from .seat import Market, Seat, no_market
from .session import Hangup, Kept, OpeningRefused, Output, PeerKnown, Reply, Routed, Session

__all__ = [
    "Deal",
    "FairDeal",
    "Handshake",
    "Hangup",
    "Kept",
    "Market",
    "Offer",
    "OpeningRefused",
    "Output",
    "PeerKnown",
    "Reply",
    "Role",
    "Routed",
    "Seat",
    "Session",
    "any_deal",
    "no_market",
]
