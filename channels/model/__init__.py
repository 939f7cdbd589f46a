"""What exists: frozen values, validated at birth, made of tuples and integers."""

from .book import EMPTY_BOOK, Book, decode_book, net
from .identity import ZERO32, ZERO_ADDRESS, Address, ChannelId, Deployment, Party, keccak
from .marks import NO_MARKS, ExpiryMark, Marks, SpotMark, VolMark
from .operation import EXCLUSIVE, Acknowledge, Close, CloseOut, Mark, Operation, Reopen, SettleExpiry, Trade, Withdraw
from .option import Leg, OptionKind, parse_expiry
from .state import Agreed, Claimed, HalfSigned, Intent, State, promote
from .terms import Terms

__all__ = [
    "EMPTY_BOOK", "EXCLUSIVE", "NO_MARKS", "ZERO32", "ZERO_ADDRESS", "Acknowledge", "Address", "Agreed", "Book",
    "ChannelId", "Claimed", "Close", "CloseOut", "Deployment", "ExpiryMark", "HalfSigned", "Intent", "Leg", "Mark",
    "Marks", "Operation", "OptionKind", "Party", "Reopen", "SettleExpiry", "SpotMark", "State", "Terms", "Trade",
    "VolMark", "Withdraw", "decode_book", "keccak", "net", "parse_expiry", "promote",
]  # fmt: skip
