"""A dispute's look at the margin calls in the contract: by when, what cures one, whether one can be executed now.

The margin policy is read from the risk engine that the terms name, because that is what the contract will ask: a store
holds the policy's hash only. Figures are those of the newest block's time and the price source's spots; by the time a
transaction is mined both have moved, so a top-up is worth a little more than what is lacking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..chain.port import Chain, OnChain
from ..core.margin_calls import CallTimes, MarginCall, call_times
from ..errors import ContractMismatch, OutOfBounds
from ..model import Book, Party, State, Terms
from ..risk.close_out import witness
from ..risk.margin import margin
from ..risk.report import MarginReport
from ..units import div_up


@dataclass(frozen=True, slots=True)
class PendingCall:
    """An armed margin call on the registered version. Amounts in token units, times unix seconds."""

    party: Party
    deadline: int
    times: CallTimes | None
    """What its clock says now; None without the registered book, on which the window's end depends."""
    report: MarginReport | None
    """The party's margin now, as the contract would find it; None where it would not look: `unknown` says why."""
    unknown: str = ""

    @property
    def stands(self) -> bool:
        """Whether it has not lapsed, as far as can be known."""
        return self.times is None or self.times.stands

    @property
    def is_executable(self) -> bool:
        """Whether a liquidation would go through now, settlement prices apart."""
        timely = self.times is not None and self.times.is_executable
        return timely and self.report is not None and self.report.is_breach

    @property
    def lacking(self) -> int | None:
        """What is missing to cure it: initial margin less equity, 0 where nothing is; None where it is not known."""
        return None if self.report is None else max(0, self.report.initial_margin - self.report.equity)

    @property
    def top_up(self) -> int:
        """What to deposit: all that is lacking, and a hundredth of the initial margin for what moves meanwhile."""
        report, lacking = self.report, self.lacking
        return lacking + div_up(report.initial_margin, 100) if report and lacking else 0

    @property
    def witness(self) -> tuple[int, ...]:
        """The rows that prove the breach; empty where the margin is not known."""
        return witness(self.report) if self.report else ()


def cash_of(status: OnChain, state: State | None) -> tuple[int, int]:
    """Return cash by protocol §3.1, before the legs: balances, corrected by what was deposited and paid meanwhile."""
    if state is None:
        return status.deposits[0] - status.paid[0], status.deposits[1] - status.paid[1]
    both = zip(state.balances, status.deposits, state.deposits, state.withdrawals, status.paid, strict=True)
    cash = [balance + on - known + out - paid for balance, on, known, out, paid in both]
    return cash[0], cash[1]


def pending_calls(
    chain: Chain, terms: Terms, status: OnChain, state: State | None, book: Book | None, now: int
) -> tuple[PendingCall, ...]:
    """Return the armed calls, party 0's first; `state` and `book` are the registered ones. Raises ChainError."""
    armed = [party for party in Party if status.cure_deadlines[party]]
    if not armed:
        return ()
    reports: tuple[MarginReport, MarginReport] | None = None
    unknown = "this store lacks the book of the registered state"
    if book is not None:
        try:
            reports = _reports(chain, terms, cash_of(status, state), book, now)
        except (ContractMismatch, OutOfBounds) as failed:
            unknown = str(failed)
        else:
            unknown = "" if reports else "the price source has no fresh spot, which also keeps anyone from acting on it"
    found = []
    for party in armed:
        deadline = status.cure_deadlines[party]
        times = call_times(MarginCall(deadline, status.version), terms, book, now) if book is not None else None
        found.append(PendingCall(party, deadline, times, reports[party] if reports else None, unknown))
    return tuple(found)


def _reports(
    chain: Chain, terms: Terms, cash: tuple[int, int], book: Book, now: int
) -> tuple[MarginReport, MarginReport] | None:
    """Return both parties' margin as the contract would find it now; None without a fresh spot."""
    spots: dict[str, int] = {}
    for mark in book.marks.spots:
        spots[mark.underlying] = chain.spot(terms.source, mark.underlying).fresh(now, terms.spot_max_age)
    if not all(spots.values()):
        return None
    policy = chain.engine_policy(terms.engine)
    settlements = _settlements(chain, terms, book, now)
    return margin(book, cash, terms.decimals, policy, t=now, spots=spots, settlements=settlements)


def _settlements(chain: Chain, terms: Terms, book: Book, now: int) -> Mapping[tuple[str, int], int]:
    due = dict.fromkeys(leg.key[:2] for leg in book.legs if leg.expiry <= now)
    prices = {pair: chain.effective_settlement(terms, *pair) for pair in due}
    return {pair: price for pair, price in prices.items() if price}
