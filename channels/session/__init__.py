"""The peer's edge, sans-IO: bytes in, authenticated events to the core, effects out."""

from .handshake import Handshake, Role
from .seat import Market, Seat, no_market
from .session import Hangup, OpeningRefused, Output, PeerKnown, Reply, Routed, Session

__all__ = [
    "Handshake",
    "Hangup",
    "Market",
    "OpeningRefused",
    "Output",
    "PeerKnown",
    "Reply",
    "Role",
    "Routed",
    "Seat",
    "Session",
    "no_market",
]
