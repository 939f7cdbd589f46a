"""The edge to the EVM: what the runtime asks of a chain, and the clients that answer.

`port` and `confirm` are light; `client` imports web3 and `local` the embedded EVM, so each is imported by name where it
is used. The only room that knows web3, eth-abi and eth-tester.
"""

from .confirm import BlockRange, next_range, ranges
from .port import Block, Call, Chain, ChannelPhase, Located, OnChain, Receipt, Spend, Spot

__all__ = [
    "Block",
    "BlockRange",
    "Call",
    "Chain",
    "ChannelPhase",
    "Located",
    "OnChain",
    "Receipt",
    "Spend",
    "Spot",
    "next_range",
    "ranges",
]
