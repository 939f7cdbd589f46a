"""State channels that carry option positions: trade off-chain at full speed, settle on-chain whatever happens.

A trading bot needs only the names below:

    async with open_node(signer, store=store, chain=chain, market=market, config=config) as node:
        await node.connect(host, port, peer)
        channel = await node.open(terms)
        trade = channel.trade([Leg.call("ETH/USD", "2024-01-26", 2400, quantity=10)], premium="812.50")
        print(channel.what_if(trade))
        await channel.propose(trade)
        async for event in channel: ...

Names are loaded when they are first used, so that importing the pure rooms pulls in neither web3 nor trio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .chain.client import Web3Chain as Web3Chain
    from .chain.local import LocalChain as LocalChain
    from .chain.source import (
        AuditedCode as AuditedCode,
        ChainlinkSetup as ChainlinkSetup,
        Feed as Feed,
        SignedSetup as SignedSetup,
    )
    from .core.channel import MarkPolicy as MarkPolicy
    from .core.commands import Effect as Effect, Notify as Notify, Persist as Persist, Send as Send
    from .core.events import DepositConfirmed as DepositConfirmed
    from .core.exposure import Exposure as Exposure, exposure as exposure
    from .core.facts import DepositSeen as DepositSeen
    from .core.limits import Limits as Limits
    from .core.machine import open_channel as open_channel, replay as replay
    from .core.notices import (
        BelowMaintenance as BelowMaintenance,
        CallingMargin as CallingMargin,
        Challenged as Challenged,
        ChannelClosed as ChannelClosed,
        ChannelOpened as ChannelOpened,
        CollateralCalled as CollateralCalled,
        CollateralCallRefused as CollateralCallRefused,
        CopySuspected as CopySuspected,
        DataLoss as DataLoss,
        Deposited as Deposited,
        DisputeEnded as DisputeEnded,
        Liquidated as Liquidated,
        Liquidating as Liquidating,
        LostStateShown as LostStateShown,
        MarginCallCured as MarginCallCured,
        MarginCalled as MarginCalled,
        MarginRestored as MarginRestored,
        Notice as Notice,
        PaidOut as PaidOut,
        PeerRefused as PeerRefused,
        PeerSilent as PeerSilent,
        RecoveryAgreed as RecoveryAgreed,
        RecoveryRequested as RecoveryRequested,
        Registered as Registered,
        Released as Released,
        SettlementFixed as SettlementFixed,
        Settling as Settling,
        SpotBreach as SpotBreach,
        SpotBreachOver as SpotBreachOver,
        ToppingUp as ToppingUp,
        TopUpNeeded as TopUpNeeded,
        TurnArrived as TurnArrived,
        Updated as Updated,
        WeRefused as WeRefused,
    )
    from .core.phases import Phase as Phase
    from .errors import (
        ChainError as ChainError,
        ChannelError as ChannelError,
        DealDeclined as DealDeclined,
        LocalError as LocalError,
        MarginShortfall as MarginShortfall,
        PeerUnresponsive as PeerUnresponsive,
        ProposalRejected as ProposalRejected,
        RuleViolation as RuleViolation,
        SourceMismatch as SourceMismatch,
        StoreError as StoreError,
        TermsRefused as TermsRefused,
    )
    from .model import (
        Acknowledge as Acknowledge,
        Address as Address,
        Agreed as Agreed,
        Book as Book,
        ChannelId as ChannelId,
        Close as Close,
        CloseOut as CloseOut,
        Deployment as Deployment,
        HalfSigned as HalfSigned,
        Leg as Leg,
        Mark as Mark,
        Marks as Marks,
        OptionKind as OptionKind,
        Party as Party,
        Reopen as Reopen,
        SettleExpiry as SettleExpiry,
        State as State,
        Terms as Terms,
        Trade as Trade,
        Withdraw as Withdraw,
    )
    from .risk import (
        DEFAULT_POLICY as DEFAULT_POLICY,
        Explanation as Explanation,
        LiquidationBand as LiquidationBand,
        MarginPolicy as MarginPolicy,
        MarginReport as MarginReport,
        explain as explain,
        liquidation_bands as liquidation_bands,
    )
    from .runtime.config import NodeConfig as NodeConfig
    from .runtime.confirmation import Confirmation as Confirmation
    from .runtime.live import LiveChannel as LiveChannel, WhatIf as WhatIf
    from .runtime.margin_table import MarginTable as MarginTable
    from .runtime.node import Node as Node, open_node as open_node
    from .seal import Signer as Signer
    from .session import (
        Deal as Deal,
        FairDeal as FairDeal,
        Hangup as Hangup,
        Market as Market,
        Offer as Offer,
        PeerKnown as PeerKnown,
        Reply as Reply,
        Role as Role,
        Routed as Routed,
        Seat as Seat,
        Session as Session,
        any_deal as any_deal,
    )
    from .store import MemoryStore as MemoryStore, SqliteStore as SqliteStore

_PLACES = {
    "chain.client": ("Web3Chain",),
    "chain.local": ("LocalChain",),
    "chain.source": ("AuditedCode", "ChainlinkSetup", "Feed", "SignedSetup"),
    "core.channel": ("MarkPolicy",),
    "core.exposure": ("Exposure", "exposure"),
    "core.limits": ("Limits",),
    "core.commands": ("Effect", "Notify", "Persist", "Send"),
    "core.events": ("DepositConfirmed",),
    "core.facts": ("DepositSeen",),
    "core.machine": ("open_channel", "replay"),
    "core.notices": (
        "BelowMaintenance", "CallingMargin", "Challenged", "ChannelClosed", "ChannelOpened", "CollateralCallRefused",
        "CollateralCalled", "CopySuspected", "DataLoss", "Deposited", "DisputeEnded", "Liquidated", "Liquidating",
        "LostStateShown", "MarginCallCured", "MarginCalled", "MarginRestored", "Notice", "PaidOut", "PeerRefused",
        "PeerSilent", "RecoveryAgreed", "RecoveryRequested", "Registered",
        "Released", "SettlementFixed", "Settling", "SpotBreach", "SpotBreachOver", "TopUpNeeded", "ToppingUp",
        "TurnArrived", "Updated", "WeRefused",
    ),
    "core.phases": ("Phase",),
    "errors": (
        "ChainError", "ChannelError", "DealDeclined", "LocalError", "MarginShortfall", "PeerUnresponsive",
        "ProposalRejected", "RuleViolation", "SourceMismatch", "StoreError",
        "TermsRefused",
    ),
    "model": (
        "Acknowledge", "Address", "Agreed", "Book", "ChannelId", "Close", "CloseOut", "Deployment", "HalfSigned", "Leg",
        "Mark", "Marks", "OptionKind", "Party", "Reopen", "SettleExpiry", "State", "Terms", "Trade", "Withdraw",
    ),
    "risk": (
        "DEFAULT_POLICY", "Explanation", "LiquidationBand", "MarginPolicy", "MarginReport", "explain",
        "liquidation_bands",
    ),
    "runtime.config": ("NodeConfig",),
    "runtime.confirmation": ("Confirmation",),
    "runtime.live": ("LiveChannel", "WhatIf"),
    "runtime.margin_table": ("MarginTable",),
    "runtime.node": ("Node", "open_node"),
    "seal": ("Signer",),
    "session": (
        "Deal", "FairDeal", "Hangup", "Market", "Offer", "PeerKnown", "Reply", "Role", "Routed", "Seat", "Session",
        "any_deal",
    ),
    "store": ("MemoryStore", "SqliteStore"),
}  # fmt: skip
_HOME = {name: place for place, names in _PLACES.items() for name in names}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
