"""What margin asks a party's node to do on-chain, from what the contract would find if it were asked now. Pure.

Duties follow from the newest block, confirmed or not: what was mined a second ago must not be sent again while it waits
for its confirmations, and what a reorg took back must. All but the top-up may be sent twice without harm (the second
is refused), so only the top-up is journalled before it leaves.

    breach of i    ⇔  equity_i < maintenance margin_i    at the block's time and the source's fresh spot   risk.md §3
    cured          ⇔  equity_i ≥ initial margin_i
    top-up         =  initial margin − equity + cushion · initial margin, up
    releasable     =  min(equity − initial margin, cash + settled payoff, pot)                              protocol §3

Both parties' calls are looked at independently: one may be cured while the other is executed.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OutOfBounds
from ..model import EMPTY_BOOK, Agreed, Book, Party, State
from ..risk.black import intrinsic
from ..risk.close_out import witness
from ..risk.report import MarginReport
from ..units import WAD, div_up
from .channel import Channel
from .margin_calls import CallTimes, MarginCall, call_times
from .views import FixPrice

AHEAD = 60
"""Seconds for which a released amount must still be there: it is mined a block or two after it was computed."""


@dataclass(frozen=True, slots=True)
class MarginLook:
    """A channel and its prices at the newest block. Token units per party, WAD prices, unix seconds.

    `version` is the registered one, `deadline` the dispute's, `cure_deadlines` those of armed calls; 0: none. `spots`
    are the fresh ones by underlying, `settlements` by underlying and expiry; what is missing there is missing.
    `wallet` is what our account could deposit.
    """

    now: int
    version: int
    deadline: int
    cure_deadlines: tuple[int, int]
    deposits: tuple[int, int]
    paid: tuple[int, int]
    spots: tuple[tuple[str, int], ...] = ()
    settlements: tuple[tuple[tuple[str, int], int], ...] = ()
    wallet: int = 0

    @property
    def pot(self) -> int:
        """Token units held for the channel."""
        return sum(self.deposits) - sum(self.paid)

    @property
    def is_final(self) -> bool:
        """Whether the dispute's deadline has passed: no newer state is taken any more."""
        return 0 < self.deadline <= self.now


@dataclass(frozen=True, slots=True)
class MarginOrders:
    """What the owner allows. `top_up_limit`: token units over the channel's life; `cushion`: WAD share of the IM."""

    call: bool = True
    liquidate: bool = True
    top_up_limit: int = 0
    cushion: int = WAD // 100


@dataclass(frozen=True, slots=True)
class CallMargin:
    """Prove the peer below maintenance and start its cure period; `agreed` None: on the registered `state`."""

    agreed: Agreed | None
    state: State
    book: Book
    witness: tuple[int, ...]
    equity: int
    maintenance_margin: int


@dataclass(frozen=True, slots=True)
class Disarm:
    """Register this newer agreed state: it takes back the margin call against us."""

    agreed: Agreed


@dataclass(frozen=True, slots=True)
class Cure:
    """Show that we hold initial margin in the registered state: it ends the margin call against us."""

    state: State
    book: Book


@dataclass(frozen=True, slots=True)
class TopUp:
    """Deposit `amount` token units before `deadline`; `total` is what our cumulative deposits are then.

    `is_decided`: it was journalled before, and is not seen to be mined.
    """

    amount: int
    total: int
    deadline: int
    is_decided: bool = False


@dataclass(frozen=True, slots=True)
class AskForTopUp:
    """Tell the owner: `amount` token units before `deadline`, and the node may not spend them."""

    amount: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Liquidate:
    """Close the peer out, in the window of the call that it missed."""

    state: State
    book: Book
    witness: tuple[int, ...]


Answering = Disarm | Cure | TopUp | AskForTopUp
MarginStep = CallMargin | Disarm | Cure | Liquidate
"""What one call of the contract does."""
MarginDuty = MarginStep | TopUp


@dataclass(frozen=True, slots=True)
class MarginView:
    """What a look means: both parties' margin in the newest enforceable state, and what follows on either side.

    `reports` is None where the contract would not look (no fresh spot, or a book that nobody here holds).
    """

    reports: tuple[MarginReport, MarginReport] | None
    answer: Answering | None
    pursuit: CallMargin | Liquidate | FixPrice | None

    def is_breach(self, party: Party) -> bool:
        """Whether the contract would find the party below maintenance."""
        return self.reports is not None and self.reports[party].is_breach


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a peer in breach behaves, seconds of our own clock.

    `breach`: for how long it has been below maintenance; `silent`: for how long something that it was asked has no
    answer; `away`: for how long it has not been connected. 0: it is not.
    """

    breach: float
    silent: float = 0.0
    away: float = 0.0


def reason_to_call(conduct: Conduct, patience: float, reply_timeout: float) -> str | None:
    """Return why a peer that is below maintenance is called on-chain now, or None: it still has time."""
    if conduct.away >= reply_timeout:
        return "it is not connected"
    if conduct.silent >= reply_timeout:
        return "it does not answer"
    if conduct.breach >= patience:
        return "it did not restore its margin in time"
    return None


def margin_view(channel: Channel, look: MarginLook, orders: MarginOrders) -> MarginView:
    """Return what a look means for a channel whose terms name a risk engine."""
    newest = _newest(channel, look)
    reports = margins_at(channel, *newest, look) if newest else None
    if _is_ending(channel, look):
        return MarginView(reports, None, None)
    return MarginView(reports, _answer(channel, look, orders), _pursuit(channel, look, orders, reports))


def registered(channel: Channel, look: MarginLook) -> tuple[State, Book] | None:
    """Return the state registered at the newest block, with its book; None for none, and for one not known here.

    A version names one state: nobody signs it twice.
    """
    return next(((state, book) for state, book in channel.known() if state.version == look.version), None)


def call_stands(channel: Channel, look: MarginLook, party: Party) -> bool:
    """Return whether a margin call of the party is armed and has not lapsed; without the book it is taken to stand."""
    held = registered(channel, look)
    return bool(look.cure_deadlines[party]) and (held is None or _times(channel, look, party, held[1]).stands)


def cash_at(state: State, look: MarginLook) -> tuple[int, int]:
    """Return both parties' cash once `state` is registered and the withdrawals it authorises are paid (protocol §3.1).

    Token units. Nothing is paid while a deposit that it counts on is missing; party 0 first, from what the pot holds.
    """
    due, pot = [0, 0], look.pot
    if all(on >= known for on, known in zip(look.deposits, state.deposits, strict=True)):
        for party in Party:
            due[party] = min(max(0, state.withdrawals[party] - look.paid[party]), pot)
            pot -= due[party]
    first, second = (
        state.balances[p] + look.deposits[p] - state.deposits[p] + state.withdrawals[p] - look.paid[p] - due[p]
        for p in Party
    )
    return first, second


def margins_at(
    channel: Channel, state: State, book: Book, look: MarginLook, now: int | None = None
) -> tuple[MarginReport, MarginReport] | None:
    """Return both parties' margin as the contract would find it; None where it would refuse to look.

    At the look's time, or `now`; an expired leg without a settlement counts at the spot, as in a margin call.
    """
    spots = dict(look.spots)
    if any(mark.underlying not in spots for mark in book.marks.spots):
        return None
    facts = (book, cash_at(state, look), channel.terms.decimals, channel.policy)
    t = look.now if now is None else now
    try:
        return channel.margin_engine.margin(*facts, t=t, spots=spots, settlements=dict(look.settlements))
    except OutOfBounds:
        return None


def releasable(channel: Channel, look: MarginLook) -> int:
    """Return the token units that the contract would release to us now and still in a minute; 0 for none.

    Theta moves the excess while a transaction waits, so the less of the two is named. 0 too where a price is missing.
    """
    held = registered(channel, look)
    if held is None or not look.is_final:
        return 0
    state, book = held
    me = channel.me
    settled = dict(look.settlements)
    expired = [leg for leg in book.legs if leg.expiry <= look.now]
    if any((leg.underlying, leg.expiry) not in settled for leg in expired):
        return 0
    pays = sum(leg.quantity * intrinsic(leg.kind, settled[leg.underlying, leg.expiry], leg.strike) for leg in expired)
    unit: int = 10 ** (36 - channel.terms.decimals)
    realised = (pays if me is Party.ZERO else -pays) // unit
    until = min([look.now + AHEAD, *(leg.expiry - 1 for leg in book.legs if leg.expiry > look.now)])
    spare = [look.pot, cash_at(state, look)[me] + realised]
    for moment in {look.now, until}:
        reports = margins_at(channel, state, book, look, moment)
        spare.append(reports[me].equity - reports[me].initial_margin if reports else 0)
    return max(0, min(spare))


def _newest(channel: Channel, look: MarginLook) -> tuple[State, Book] | None:
    """Return the newest agreed state that the contract would still take, else the registered one."""
    agreed = _newer(channel, look)
    return (agreed.state, agreed.book) if agreed else registered(channel, look)


def _newer(channel: Channel, look: MarginLook) -> Agreed | None:
    agreed = channel.agreed
    return agreed if agreed and agreed.version > look.version and not look.is_final else None


def _is_ending(channel: Channel, look: MarginLook) -> bool:
    """Whether an agreed CLOSE or REOPEN is on its way: it ends every call, and is worth more than any."""
    closing = channel.closing
    return closing is not None and closing.version > look.version and look.now <= closing.state.valid_until


def _times(channel: Channel, look: MarginLook, party: Party, book: Book) -> CallTimes:
    deadline = look.cure_deadlines[party]
    return call_times(MarginCall(deadline, look.version if deadline else 0), channel.terms, book, look.now)


def _answer(channel: Channel, look: MarginLook, orders: MarginOrders) -> Answering | None:
    me, deadline = channel.me, look.cure_deadlines[channel.me]
    if not deadline:
        return None
    newer = _newer(channel, look)
    if newer:
        return Disarm(newer)
    held = registered(channel, look)
    if held is None or not _times(channel, look, me, held[1]).stands:
        return None
    reports = margins_at(channel, *held, look)
    if reports is None:
        return None
    report = reports[me]
    lacking = report.initial_margin - report.equity
    if lacking <= 0:
        return Cure(*held)
    wanted = lacking + div_up(report.initial_margin * orders.cushion, WAD)
    decided = channel.top_up
    if decided and decided.total > look.deposits[me] and decided.amount <= look.wallet:
        return TopUp(decided.amount, decided.total, deadline, is_decided=True)
    left = min(orders.top_up_limit - channel.topped_up, look.wallet)
    if lacking > left:
        return AskForTopUp(wanted, deadline)
    amount = min(wanted, left)
    return TopUp(amount, look.deposits[me] + amount, deadline)


def _pursuit(
    channel: Channel, look: MarginLook, orders: MarginOrders, reports: tuple[MarginReport, MarginReport] | None
) -> CallMargin | Liquidate | FixPrice | None:
    """Return what to do against a peer in breach: the next step of a call that stands, else a call."""
    peer = channel.me.other
    if channel.is_frozen or reports is None or not reports[peer].is_breach:
        # A peer whose newest state is whole is not closed out on an older one, though the contract would do it.
        return None
    held, newer = registered(channel, look), _newer(channel, look)
    times = _times(channel, look, peer, held[1]) if held else None
    if held and times and times.stands:
        return _execution(channel, look, held, times) if orders.liquidate else None
    if not orders.call or (look.cure_deadlines[peer] and held is None):
        return None
    found = reports[peer]
    state, book = (newer.state, newer.book) if newer else held or (None, EMPTY_BOOK)
    if state is None:
        return None
    return CallMargin(newer, state, book, witness(found), found.equity, found.maintenance_margin)


def _execution(
    channel: Channel, look: MarginLook, held: tuple[State, Book], times: CallTimes
) -> Liquidate | FixPrice | None:
    """Return the liquidation, or the price that it waits for first; None before the deadline, and without a breach."""
    state, book = held
    if not times.is_executable:
        return None
    settled = dict(look.settlements)
    for leg in book.legs:
        if leg.expiry <= look.now and leg.key[:2] not in settled:
            return FixPrice(state, book, *leg.key[:2])
    reports = margins_at(channel, state, book, look)
    if reports is None or not reports[channel.me.other].is_breach:
        return None
    return Liquidate(state, book, witness(reports[channel.me.other]))
