"""What should happen next. The core returns these; the session signs, the runtime does the rest, in this order."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import State
from ..wire.messages import Message
from .notices import Notice
from .records import Record


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign this state and step on SignatureMade. The session answers it; it never reaches a driver."""

    state: State


@dataclass(frozen=True, slots=True)
class Persist:
    """Make the record durable before any later command is carried out."""

    record: Record


@dataclass(frozen=True, slots=True)
class Send:
    """Send the message if there is a connection; if not it is dropped, and Resume makes good for it."""

    message: Message


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell the owner."""

    notice: Notice


Command = Sign | Persist | Send | Notify
Effect = Persist | Send | Notify
"""The commands that are left once the session has signed."""
