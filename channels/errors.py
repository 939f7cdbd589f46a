"""The whole exception tree, one sentence each.

Every error says whose fault it is by its branch, carries its facts as attributes, and tells in its text what to do
where something can be done. Foreign exceptions (msgpack's, sqlite3's, web3's) are mapped to these once, at the edge
where they enter, and never travel further.

    ChannelError
    ├── LocalError           ours: a bad argument, a full disk, a store in use
    ├── RuleViolation        a rule of the protocol that some state, message or operation breaks
    ├── RemoteProtocolError  theirs: the peer broke a rule; carries the violation
    ├── ChainError           the chain's or the RPC's
    └── InvariantBroken      a bug of this library
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class ChannelError(Exception):
    """Anything that this library raises on purpose; subclasses are dataclasses whose fields are the facts."""

    text: ClassVar[str] = "the channel library failed"

    def __str__(self) -> str:
        return self.text.format(**vars(self))


# ---------------------------------------------------------------------------------------------------------------
# Ours


class LocalError(ChannelError):
    """The caller or this machine is at fault; nothing was signed and nothing was sent."""


@dataclass(eq=False)
class InvalidValue(LocalError):
    """A value was refused at birth because it breaks the rule named."""

    field: str
    value: object
    rule: str
    text: ClassVar[str] = "{field} = {value!r} is refused: {rule}"


@dataclass(eq=False)
class NotPermitted(LocalError):
    """The action is not possible in the channel's present phase."""

    action: str
    phase: str
    hint: str
    text: ClassVar[str] = "cannot {action} while the channel is {phase}: {hint}"


@dataclass(eq=False)
class ConnectionLost(LocalError):
    """The connection to the peer ended before the answer came; the proposal stays outstanding and is sent again."""

    peer: str
    text: ClassVar[str] = "the connection to {peer} is gone; the node reconnects and resumes by itself"


@dataclass(eq=False)
class PeerUnresponsive(LocalError):
    """The peer did not answer in time; what we half-signed stays outstanding until a higher version is agreed."""

    peer: str
    seconds: float
    text: ClassVar[str] = "{peer} did not answer within {seconds:g} s; wait, or open a dispute on-chain"


@dataclass(eq=False)
class ProposalRejected(LocalError):
    """The peer refused our proposal, with its reason; propose again above it, or talk to the peer."""

    version: int
    code: str
    reason: str
    text: ClassVar[str] = "the peer refused version {version} ({code}): {reason}"


@dataclass(eq=False)
class MarginCallStands(LocalError):
    """The peer is called for margin, or about to be: we propose nothing that it could reveal to defer its close-out."""

    action: str
    text: ClassVar[str] = "cannot {action} while the peer is called for margin: close with it, or wait for its cure"


@dataclass(eq=False)
class KeyUnusable(LocalError):
    """The signing key is missing, malformed, or not that of either party."""

    detail: str
    text: ClassVar[str] = "the signing key cannot be used: {detail}"


class StoreError(LocalError):
    """The disk, or what is on it, is at fault."""


@dataclass(eq=False)
class StoreLocked(StoreError):
    """Another process has this store open; two writers could sign one version twice."""

    path: str
    text: ClassVar[str] = "the store {path} is open in another process; stop that one first"


@dataclass(eq=False)
class StoreCorrupt(StoreError):
    """The store file is truncated or damaged; restore it, or recover the channels from the peer."""

    path: str
    detail: str
    text: ClassVar[str] = "the store {path} is damaged ({detail}); nothing was written: restore it from a copy"


@dataclass(eq=False)
class StoreIncomplete(StoreError):
    """The store was not closed, and its log, which alone has the newest records, is lost or damaged."""

    path: str
    detail: str
    text: ClassVar[str] = (
        "the store {path} was not closed, and its newest records are in {path}-wal, which {detail}; nothing was"
        " written: copy both files, the log first, or open it where both are"
    )


@dataclass(eq=False)
class BackupUnreadable(StoreError):
    """A backup that this key did not seal, for another channel, or damaged on its way; nothing was written."""

    detail: str
    text: ClassVar[str] = "the backup cannot be used ({detail}); nothing was written: ask another keeper"


@dataclass(eq=False)
class StoreTooNew(StoreError):
    """The store was written by a newer release than this one."""

    path: str
    found: int
    known: int
    text: ClassVar[str] = "the store {path} has schema {found}, this release knows {known}: upgrade option-channels"


@dataclass(eq=False)
class StoreMissing(StoreError):
    """There is no store at that path, or no such channel in it."""

    path: str
    detail: str
    text: ClassVar[str] = "{path}: {detail}"


@dataclass(eq=False)
class StoreFailed(StoreError):
    """The disk refused a write; nothing that waited for it was sent."""

    path: str
    detail: str
    text: ClassVar[str] = "the store {path} could not be written ({detail}); nothing that waited for it was sent"


@dataclass(eq=False)
class AlreadySigned(StoreError):
    """The journal holds another digest under this version; the second signature was not released."""

    version: int
    text: ClassVar[str] = "version {version} is already signed for another digest; nothing was released"


# ---------------------------------------------------------------------------------------------------------------
# Rules: whose fault a broken rule is depends on who proposed it, so the edge that knows wraps it


class RuleViolation(ChannelError):
    """A rule of the channel protocol is broken; `code` names it on the wire and in Reject."""

    code: ClassVar[str] = "rule: broken"


@dataclass(eq=False)
class MalformedMessage(RuleViolation):
    """Bytes that are not one canonical message."""

    detail: str
    code: ClassVar[str] = "wire: malformed"
    text: ClassVar[str] = "not a canonical message: {detail}"


@dataclass(eq=False)
class FrameTooLong(RuleViolation):
    """A frame declares more bytes than the limit."""

    size: int
    limit: int
    code: ClassVar[str] = "wire: frame too long"
    text: ClassVar[str] = "a frame of {size} bytes exceeds the limit of {limit}"


@dataclass(eq=False)
class UnexpectedMessage(RuleViolation):
    """A message that the present phase does not allow."""

    message: str
    phase: str
    code: ClassVar[str] = "session: unexpected message"
    text: ClassVar[str] = "{message} is not expected while {phase}"


@dataclass(eq=False)
class UnsupportedProtocol(RuleViolation):
    """The peers share no protocol version."""

    offered: int
    known: int
    code: ClassVar[str] = "session: unsupported protocol"
    text: ClassVar[str] = "the peer speaks protocol {offered}, this release speaks {known}"


@dataclass(eq=False)
class HandshakeRefused(RuleViolation):
    """The signed Hello does not prove the expected peer."""

    detail: str
    code: ClassVar[str] = "session: handshake refused"
    text: ClassVar[str] = "the peer's Hello is refused: {detail}"


@dataclass(eq=False)
class BadSignature(RuleViolation):
    """A signature that is malformed, high-s, or not by the signer expected."""

    detail: str
    code: ClassVar[str] = "signatures: refused"
    text: ClassVar[str] = "the signature is refused: {detail}"


@dataclass(eq=False)
class WrongChannel(RuleViolation):
    """A state or message for another channel, chain or adjudicator."""

    expected: str
    got: str
    code: ClassVar[str] = "state: wrong channel"
    text: ClassVar[str] = "this is channel {expected}, the message is for {got}"


@dataclass(eq=False)
class StaleVersion(RuleViolation):
    """A state no newer than the one both sides agreed."""

    got: int
    agreed: int
    code: ClassVar[str] = "state: stale version"
    text: ClassVar[str] = "version {got} is not above {agreed}"


@dataclass(eq=False)
class VersionSkipTooLarge(RuleViolation):
    """A version so far ahead that the version space would be used up."""

    got: int
    agreed: int
    code: ClassVar[str] = "state: version skip too large"
    text: ClassVar[str] = "version {got} skips too far above {agreed}"


@dataclass(eq=False)
class Equivocation(RuleViolation):
    """Two different states under one version."""

    version: int
    code: ClassVar[str] = "state: equivocation"
    text: ClassVar[str] = "version {version} was already signed for another state"


@dataclass(eq=False)
class UnbalancedState(RuleViolation):
    """Balances that do not add up to deposits less withdrawals."""

    balances: int
    collateral: int
    code: ClassVar[str] = "state: balances do not add up"
    text: ClassVar[str] = "balances sum to {balances}, deposits less withdrawals to {collateral}"


@dataclass(eq=False)
class InvalidState(RuleViolation):
    """A state whose fields contradict each other."""

    detail: str
    code: ClassVar[str] = "state: invalid"
    text: ClassVar[str] = "the state is invalid: {detail}"


@dataclass(eq=False)
class InvalidBook(RuleViolation):
    """A book whose legs or marks are unsorted, duplicated, zero, uncovered or out of bounds."""

    detail: str
    code: ClassVar[str] = "book: invalid"
    text: ClassVar[str] = "the book is invalid: {detail}"


@dataclass(eq=False)
class UnknownBook(RuleViolation):
    """A book hash whose bytes nobody showed."""

    book: str
    code: ClassVar[str] = "book: unknown"
    text: ClassVar[str] = "the book {book} is not known here"


@dataclass(eq=False)
class NotYourTurn(RuleViolation):
    """A proposal by the party that does not hold the turn."""

    turn: int
    code: ClassVar[str] = "turn: not yours"
    text: ClassVar[str] = "turn {turn} belongs to the other party"


@dataclass(eq=False)
class TurnOutOfOrder(RuleViolation):
    """A turn counter that does not follow ours."""

    got: int
    ours: int
    code: ClassVar[str] = "turn: out of order"
    text: ClassVar[str] = "turn counter {got} does not follow {ours}"


@dataclass(eq=False)
class OutstandingProposal(RuleViolation):
    """A half-signed trade, withdrawal, close-out, close or reopen is not superseded yet."""

    version: int
    code: ClassVar[str] = "proposal: outstanding"
    text: ClassVar[str] = "version {version} is half-signed and not superseded yet: agree a mark above it first"


@dataclass(eq=False)
class WindowFull(RuleViolation):
    """More proposals, or more operations, in flight than the two sides keep at a time."""

    window: int
    operations: int
    code: ClassVar[str] = "proposal: window full"
    text: ClassVar[str] = "at most {window} proposals with {operations} operations together wait for an answer"


@dataclass(eq=False)
class BaseRefused(RuleViolation):
    """A proposal that stands on a version which is neither agreed nor the last one proposed."""

    version: int
    base: int
    code: ClassVar[str] = "proposal: base refused"
    text: ClassVar[str] = "version {version} stands on version {base}, which is neither agreed nor proposed here"


@dataclass(eq=False)
class TurnPromised(RuleViolation):
    """The peer waits for the turn and a whole window was proposed in this one: it is passed on before more."""

    turn: int
    code: ClassVar[str] = "turn: promised"
    text: ClassVar[str] = "the peer waits for turn {turn}: what is in flight is finished first"


@dataclass(eq=False)
class TurnsWasted(RuleViolation):
    """The turn went to and fro too often while nothing was agreed."""

    limit: int
    code: ClassVar[str] = "turn: wasted"
    text: ClassVar[str] = "the turn moved {limit} times while nothing was agreed"


@dataclass(eq=False)
class ExposureTooHigh(RuleViolation):
    """The owner's limit on what half-signed states may cost, token units; `version` is the one that costs most."""

    version: int
    cost: int
    limit: int
    decimals: int
    code: ClassVar[str] = "proposal: exposure"
    text: ClassVar[str] = (
        "half-signed, version {version} could cost {cost} token units against the agreed state, the limit is {limit}"
    )


@dataclass(eq=False)
class TooManyOutstanding(RuleViolation):
    """The owner's limit on how many half-signed states the peer may hold."""

    limit: int
    code: ClassVar[str] = "proposal: too many outstanding"
    text: ClassVar[str] = "{limit} states are half-signed and not superseded: wait until something is agreed"


@dataclass(eq=False)
class PeerIsSilent(RuleViolation):
    """The peer has not answered in time: nothing more is half-signed until it speaks."""

    version: int
    code: ClassVar[str] = "proposal: the peer is silent"
    text: ClassVar[str] = "version {version} has no answer in time: nothing more is half-signed until the peer speaks"


@dataclass(eq=False)
class SigningBarred(RuleViolation):
    """A CLOSE or REOPEN is signed: nothing may be signed above it until it is mined or has expired."""

    version: int
    valid_until: int
    code: ClassVar[str] = "proposal: barred by a signed close"
    text: ClassVar[str] = (
        "version {version} is a signed close or reopen, valid until {valid_until}: nothing goes above it"
    )


@dataclass(eq=False)
class SigningSuspended(RuleViolation):
    """A party whose journal lost data signs nothing more."""

    known: int
    shown: int
    code: ClassVar[str] = "journal: signing suspended"
    text: ClassVar[str] = (
        "the journal ends at version {known} and version {shown} was shown: nothing more is signed until both owners "
        "agree to a recovery"
    )


@dataclass(eq=False)
class CopySuspected(RuleViolation):
    """A party whose journal may be an old copy signs nothing until both owners have agreed to a recovery."""

    known: int
    code: ClassVar[str] = "journal: perhaps an old copy"
    text: ClassVar[str] = (
        "this journal, which ends at version {known}, may be an old copy: nothing is signed until it is recovered"
    )


@dataclass(eq=False)
class RecoveryInvalid(RuleViolation):
    """A recovery after data loss that nobody asked for, that was used before, or that skips to a wrong version."""

    detail: str
    code: ClassVar[str] = "recovery: invalid"
    text: ClassVar[str] = "the recovery is refused: {detail}"


@dataclass(eq=False)
class BackupUnwanted(RuleViolation):
    """A backup that is too large, or that nobody asked for."""

    detail: str
    code: ClassVar[str] = "backup: unwanted"
    text: ClassVar[str] = "the backup is refused: {detail}"


@dataclass(eq=False)
class TradeInvalid(RuleViolation):
    """A trade that cannot be applied to the book."""

    detail: str
    code: ClassVar[str] = "trade: invalid"
    text: ClassVar[str] = "the trade cannot be applied: {detail}"


@dataclass(eq=False)
class QuoteExpired(RuleViolation):
    """A leg that expires before it can be agreed, or beyond the channel's last resort time."""

    expiry: int
    limit: int
    code: ClassVar[str] = "trade: expiry out of range"
    text: ClassVar[str] = "a leg expiring at {expiry} is outside the range this channel can settle (limit {limit})"


@dataclass(eq=False)
class MarginShortfall(RuleViolation):
    """The operation would leave a party below initial margin; `shortfall` is what it lacks, in token units."""

    party: int
    equity: int
    initial_margin: int
    shortfall: int
    decimals: int
    code: ClassVar[str] = "margin: initial margin"

    def __str__(self) -> str:
        amount = f"{self.shortfall // 10**self.decimals}.{self.shortfall % 10**self.decimals:0{self.decimals}d}"
        if not self.decimals:
            amount = str(self.shortfall)
        return (
            f"initial margin would fail: party {self.party} lacks {amount} "
            f"(equity {self.equity}, initial margin {self.initial_margin}, in token units): deposit, or trade less"
        )


@dataclass(eq=False)
class ReduceOnly(RuleViolation):
    """A party below maintenance margin may only lower its own initial margin, and withdraw nothing; token units."""

    party: int
    equity: int
    maintenance_margin: int
    initial_before: int
    initial_after: int
    code: ClassVar[str] = "margin: reduce only"
    text: ClassVar[str] = (
        "party {party} is below maintenance (equity {equity}, maintenance margin {maintenance_margin}, in token units) "
        "and may only reduce: its initial margin {initial_before} would become {initial_after}"
    )


@dataclass(eq=False)
class CalledForMargin(RuleViolation):
    """A party that is called for margin proposed what leaves it below maintenance: that could only defer its end."""

    party: int
    deadline: int
    code: ClassVar[str] = "margin: called"
    text: ClassVar[str] = (
        "party {party} is called for margin until {deadline}: nothing is signed that leaves it below maintenance"
    )


@dataclass(eq=False)
class CloseOutInvalid(RuleViolation):
    """A close-out of nothing, of expired legs, of less than is known on-chain, or at the wrong party's expense."""

    detail: str
    code: ClassVar[str] = "close-out: invalid"
    text: ClassVar[str] = "the close-out is refused: {detail}"


@dataclass(eq=False)
class CollateralCallInvalid(RuleViolation):
    """A collateral call that does not follow from the agreed state; it binds nobody, so it ends no connection."""

    detail: str
    code: ClassVar[str] = "margin: collateral call"
    text: ClassVar[str] = "the collateral call is refused: {detail}"


@dataclass(eq=False)
class DealDeclined(RuleViolation):
    """The owner does not want a trade or a close at that price."""

    detail: str
    code: ClassVar[str] = "deal: declined"
    text: ClassVar[str] = "the deal is declined: {detail}"


@dataclass(eq=False)
class MarkRefused(RuleViolation):
    """A mark outside what the mark policy accepts."""

    what: str
    got: str
    allowed: str
    code: ClassVar[str] = "mark: refused"
    text: ClassVar[str] = "the mark of {what} is refused: {got}, allowed {allowed}"


@dataclass(eq=False)
class WithdrawalInvalid(RuleViolation):
    """A withdrawal proposed by someone else than its beneficiary, or of nothing."""

    detail: str
    code: ClassVar[str] = "withdraw: invalid"
    text: ClassVar[str] = "the withdrawal is refused: {detail}"


@dataclass(eq=False)
class UnconfirmedDeposit(RuleViolation):
    """An acknowledgement of a deposit or payment that is not confirmed on-chain here."""

    party: int
    claimed: int
    confirmed: int
    code: ClassVar[str] = "acknowledge: not confirmed"
    text: ClassVar[str] = "party {party}: {claimed} is claimed, {confirmed} is confirmed on-chain"


@dataclass(eq=False)
class SettlementInvalid(RuleViolation):
    """A settlement of an expiry that is not due, not in the book, or at another price than the chain's."""

    detail: str
    code: ClassVar[str] = "settle: invalid"
    text: ClassVar[str] = "the settlement is refused: {detail}"


@dataclass(eq=False)
class OutOfBounds(RuleViolation):
    """An input that the risk engine does not price: the contract reverts with this same code."""

    what: str
    value: int
    low: int
    high: int
    code: ClassVar[str] = "risk: out of bounds"
    text: ClassVar[str] = "the {what} {value} is out of bounds: it must lie between {low} and {high}"


@dataclass(eq=False)
class IntentInvalid(RuleViolation):
    """A close or reopen that is expired, valid too long, or not called for."""

    detail: str
    code: ClassVar[str] = "intent: invalid"
    text: ClassVar[str] = "the close or reopen is refused: {detail}"


@dataclass(eq=False)
class TermsRefused(RuleViolation):
    """Terms that break the protocol's bounds or this node's policy."""

    detail: str
    code: ClassVar[str] = "terms: refused"
    text: ClassVar[str] = "the terms are refused: {detail}"


# ---------------------------------------------------------------------------------------------------------------
# Theirs


@dataclass(eq=False)
class RemoteProtocolError(ChannelError):
    """The peer broke a rule: it is disconnected, and the channel's money is untouched."""

    violation: RuleViolation
    text: ClassVar[str] = "the peer broke the protocol: {violation}"


@dataclass(eq=False)
class PeerFault(ChannelError):
    """The peer says that we broke a rule, and hangs up."""

    rule: str
    reason: str
    text: ClassVar[str] = "the peer hung up on us ({rule}): {reason}"


# ---------------------------------------------------------------------------------------------------------------
# The chain's


class ChainError(ChannelError):
    """The chain, the RPC endpoint or a contract is at fault; what is signed stays valid."""


@dataclass(eq=False)
class RpcUnavailable(ChainError):
    """The RPC endpoint did not answer, or answered with something that is not Ethereum JSON-RPC."""

    endpoint: str
    detail: str
    text: ClassVar[str] = "the RPC at {endpoint} does not answer ({detail}): check the address, or try another"


@dataclass(eq=False)
class RpcRefused(RpcUnavailable):
    """The RPC endpoint answered in good JSON-RPC that it will not do this; `detail` is its message."""

    text: ClassVar[str] = "the RPC at {endpoint} refuses: {detail}"


@dataclass(eq=False)
class WrongChain(ChainError):
    """The RPC endpoint serves another chain than the channel's."""

    expected: int
    got: int
    text: ClassVar[str] = "the channel is on chain {expected}, the RPC serves chain {got}: nothing was sent"


@dataclass(eq=False)
class TransactionReverted(ChainError):
    """A contract refused the call, with its reason."""

    call: str
    reason: str
    text: ClassVar[str] = "{call} was refused by the contract: {reason}"


@dataclass(eq=False)
class TransactionPending(ChainError):
    """A transaction was sent and not mined in the time allowed; it may still be."""

    transaction: str
    seconds: float
    text: ClassVar[str] = (
        "transaction {transaction} is not mined after {seconds:g} s; run the same command again to resume"
    )


@dataclass(eq=False)
class InsufficientFunds(ChainError):
    """The wallet cannot pay for the gas or the tokens of a call."""

    address: str
    needs: int
    has: int
    unit: str
    text: ClassVar[str] = "{address} needs {needs} {unit} and has {has}"


@dataclass(eq=False)
class ContractMismatch(ChainError):
    """The code at an address is not the shipped artifact."""

    address: str
    detail: str
    text: ClassVar[str] = "the contract at {address} is not the one this release knows: {detail}"


@dataclass(eq=False)
class SourceMismatch(ChainError):
    """The price source at an address is none that this node's owner accepts."""

    address: str
    found: str
    expected: str
    text: ClassVar[str] = (
        "the price source at {address} is not accepted: found {found}; expected {expected}. "
        "Use another source, or, if these are prices you trust, state them in NodeConfig.source_setups"
    )


@dataclass(eq=False)
class MissingExtra(LocalError):
    """A feature needs an optional dependency that is not installed."""

    feature: str
    extra: str
    text: ClassVar[str] = "{feature} needs an extra: pip install 'option-channels[{extra}]'"


# ---------------------------------------------------------------------------------------------------------------
# A bug


@dataclass(eq=False)
class InvariantBroken(ChannelError):
    """A law that this library relies on does not hold: please report it with the journal."""

    law: str
    detail: str
    text: ClassVar[str] = "internal invariant broken ({law}): {detail}; nothing was signed, please report this"
