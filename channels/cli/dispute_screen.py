"""What `channels dispute` shows before anything is sent: one screen.

Plain text of at most 80 columns, because it is read on whatever terminal is at hand, and pasted into a mail. Everything
is in the words of our side: `you` are who holds the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from ..chain.port import ChannelPhase
from ..model import Book, Leg, State
from ..risk.valuation import value
from ..runtime.dispute import Budget, Dispute
from ..runtime.dispute_calls import cash_of
from ..runtime.dispute_steps import Act, Evidence, Finished, Outlook, Step, Wait, enforceable, last_resort_start
from ..units import show
from .dispute_margin import call_lines
from .dispute_times import local, span, utc

WIDTH, LABEL = 80, 12
SKEW = 300
"""Seconds by which the chain's clock may differ from this machine's before a person should know."""
ETHER = 18


def screen(
    dispute: Dispute,
    outlook: Outlook,
    step: Step,
    budget: Budget,
    symbol: str,
    *,
    width: int = WIDTH,
    height: int | None = None,
    clock: float,
) -> list[str]:
    """Return the lines of the screen, none wider than `width`; with `height`, legs are left out until they fit.

    `clock` is this machine's unix time, only to warn where the chain's differs.
    """
    writer = _Writer(dispute, outlook, step, budget, symbol, width, clock)
    lines = writer.write(None)
    if height is not None and len(lines) > height:
        legs = writer.leg_rows()
        lines = writer.write(max(1, legs - (len(lines) - height) - 1))
    return lines


class _Writer:
    def __init__(
        self,
        dispute: Dispute,
        outlook: Outlook,
        step: Step,
        budget: Budget,
        symbol: str,
        width: int,
        clock: float,
    ) -> None:
        self.dispute, self.outlook, self.step, self.budget = dispute, outlook, step, budget
        self.evidence: Evidence = dispute.evidence
        self.symbol, self.width, self.clock = symbol, width, clock
        self.state, self.book = enforceable(self.evidence, outlook)

    def write(self, leg_rows: int | None) -> list[str]:
        closed = self.outlook.phase is ChannelPhase.CLOSED
        parts = [
            self._labelled("CHANNEL", self._channel()),
            self._labelled("ON CHAIN", self._on_chain()),
        ]
        if closed:
            parts.append(self._labelled("PAID", self._paid()))
        else:
            parts += [
                self._labelled("YOUR PROOF", self._proof()),
                self._labelled("CASH", self._cash()),
                self._legs(leg_rows),
                self._labelled("PAYOUT", self._payout()),
                self._deadline(),
                *self._calls(),
                self._labelled("OTHERWISE", self._otherwise()),
            ]
        if not isinstance(self.step, Finished):
            parts.append(self._labelled("GAS", self._gas()))
        parts += [*self._warnings(), self._numbered("NEXT", self._plan())]
        return [line.rstrip() for part in parts for line in part]

    def leg_rows(self) -> int:
        return len(self._leg_lines())

    # The lines

    def _channel(self) -> str:
        evidence, chain = self.evidence, self.dispute.chain
        return (
            f"0x{evidence.channel.hex()[:16]}... on chain {evidence.deployment.chain_id} ({chain.endpoint}); "
            f"you are party {int(evidence.me)}"
        )

    def _on_chain(self) -> str:
        status = self.outlook.status
        version = f"version {status.version}" if status.version else "no version"
        match self.outlook.phase:
            case ChannelPhase.OPEN:
                return f"no dispute, {version} registered; {self._money(status.pot)} locked"
            case ChannelPhase.DISPUTED:
                return f"DISPUTED with {version}; {self._money(status.pot)} locked"
            case ChannelPhase.SETTLING:
                return f"deadline passed, {version} is final; {self._money(status.pot)} to be paid"
            case ChannelPhase.CLOSED:
                return f"CLOSED with {version}"

    def _proof(self) -> str:
        status, agreed, close = self.outlook.status, self.evidence.agreed, self.outlook.close
        if close:
            return (
                f"version {close.version}, an agreed CLOSE, good until {utc(close.state.valid_until)}: "
                "better than a dispute, it pays at once"
            )
        if self.outlook.phase is ChannelPhase.SETTLING:
            return "the chain's version is final, nothing newer is taken any more"
        if agreed is None:
            return "nothing was ever agreed: you are owed exactly what you deposited"
        if agreed.version > status.version:
            known = f"newer than the chain's version {status.version}" if status.version else "the chain has none yet"
            return f"version {agreed.version}, signed by both: {known}"
        if agreed.version == status.version:
            return f"version {agreed.version}, signed by both: the chain has it already"
        return f"version {agreed.version}, OLDER than the chain's version {status.version}"

    def _cash(self) -> str:
        if self.state is None and not self.outlook.status.version and self.evidence.agreed is None:
            mine, theirs = self._sides(self.outlook.status.deposits)
            return f"you {self._money(mine)}, peer {self._money(theirs)}: the deposits"
        cash = cash_of(self.outlook.status, self.state)
        mine, theirs = self._sides(cash)
        legs = ", before the legs" if self.book is None or self.book.legs else ""
        return f"you {self._money(mine)}, peer {self._money(theirs)}{legs}"

    def _legs(self, rows: int | None) -> list[str]:
        if self.book is None:
            return self._labelled("LEGS", "unknown: this store does not hold the book of the chain's version")
        if not self.book.legs:
            return self._labelled("LEGS", "none")
        lines = self._leg_lines()
        shown = lines if rows is None else lines[:rows]
        if len(shown) < len(lines):
            hidden = len(self.book.legs) - len(shown) * self._per_row()
            shown.append(f"and {hidden} more (piped into a file, all are shown)")
        head = f"{len(self.book.legs)}, the last expires {utc(self.book.last_expiry)}; + you are long"
        return [*self._labelled("LEGS", head), *(" " * LABEL + line for line in shown)]

    def _leg_lines(self) -> list[str]:
        if self.book is None:
            return []
        sign = 1 if self.evidence.me == 0 else -1
        texts = [_leg(leg.times(sign)) for leg in self.book.legs]
        per_row, column = self._per_row(), (self.width - LABEL) // 2
        return ["".join(text.ljust(column) for text in texts[i : i + per_row]) for i in range(0, len(texts), per_row)]

    def _per_row(self) -> int:
        if self.book is None:
            return 1
        return 2 if max(len(_leg(leg)) for leg in self.book.legs) + 2 < (self.width - LABEL) // 2 else 1

    def _payout(self) -> str:
        if self.outlook.expected is not None:
            mine, theirs = self._sides(self.outlook.expected)
            return f"you {self._money(mine)}, peer {self._money(theirs)}"
        if self.book is None:
            return "not known without the book"
        if self.book.last_expiry <= self.outlook.now:
            return "known as soon as the settlement price is"
        return (
            f"fixed at expiry. Now, at the marks agreed {utc(self.book.marks.time)}, cash and legs are worth "
            f"{self._money(self._equity(self.state, self.book))} to you"
        )

    def _deadline(self) -> list[str]:
        outlook, evidence = self.outlook, self.evidence
        if outlook.close:
            at, what = outlook.close.state.valid_until, "; the agreed close is void after it"
        elif outlook.phase is ChannelPhase.OPEN:
            period = span(evidence.terms.challenge_period)
            return self._labelled("DEADLINE", f"none runs. A dispute lasts {period} from its first block")
        elif outlook.phase is ChannelPhase.SETTLING and isinstance(self.step, Wait):
            at, what = self.step.until, f" ({self.step.what})"
        elif outlook.phase is ChannelPhase.SETTLING:
            return self._labelled("DEADLINE", f"passed {utc(outlook.status.deadline)}; no other one runs")
        else:
            at, what = outlook.status.deadline, ""
        left = at - outlook.now
        return [
            *self._labelled("DEADLINE", f"{utc(at)}, {'in ' + span(left) if left > 0 else 'now'}{what}"),
            *self._labelled("", f"{local(at)} in your time zone"),
        ]

    def _calls(self) -> Iterator[list[str]]:
        agreed, outlook = self.evidence.agreed, self.outlook
        in_time = outlook.phase in (ChannelPhase.OPEN, ChannelPhase.DISPUTED)
        newer = agreed.version if agreed and in_time and agreed.version > outlook.status.version else 0
        for label, text in call_lines(self.evidence, outlook, self.dispute.orders, newer, self._money):
            yield self._labelled(label, text)

    def _otherwise(self) -> str:
        """What happens if nobody on our side does anything."""
        outlook, agreed = self.outlook, self.evidence.agreed
        status = outlook.status
        match outlook.phase:
            case ChannelPhase.OPEN:
                hours = span(self.evidence.terms.challenge_period)
                return f"the money stays locked, and the peer may dispute with an older state: you then have {hours}"
            case ChannelPhase.DISPUTED if agreed and agreed.version > status.version:
                version = f"version {status.version}" if status.version else "the bare deposits"
                if outlook.book is None:
                    return f"{version} becomes final at the deadline, whose book this store does not hold"
                worth = self._money(self._equity(outlook.registered, outlook.book))
                ours = self._money(self._equity(agreed.state, agreed.book))
                return f"{version} becomes final at the deadline: now worth {worth} to you, instead of {ours}"
            case ChannelPhase.DISPUTED:
                return f"the same: version {status.version} becomes final, and later anyone can settle it"
            case _:
                return "nothing is lost: the money waits in the contract until anyone settles"

    def _gas(self) -> str:
        budget = self.budget
        count = "1 transaction" if budget.transactions == 1 else f"up to {budget.transactions} transactions"
        needs, has = _ether(budget.needs, up=True), _ether(budget.balance)
        if budget.is_enough:
            return f"{count}, at most {needs} ETH; the wallet has {has}: enough"
        short = _ether(budget.needs - budget.balance, up=True)
        return f"{count}, at most {needs} ETH; the wallet has {has}: send {short} ETH to {self.dispute.chain.account}"

    def _paid(self) -> str:
        payouts = self.outlook.payouts
        if payouts is None:
            return "the amounts stand in the contract's log, which this RPC does not show"
        mine, theirs = self._sides(payouts)
        return f"you {self._money(mine)} (to {self.evidence.owner}), peer {self._money(theirs)}"

    def _warnings(self) -> Iterator[list[str]]:
        evidence, outlook = self.evidence, self.outlook
        if outlook.foreign:
            yield self._labelled(
                "! OLD COPY",
                f"the chain has version {outlook.status.version}, which this store does not hold. It carries your "
                "signature, so a newer copy of the store exists or data was lost: find it, and use that one",
            )
        if outlook.book is None and outlook.phase is not ChannelPhase.CLOSED:
            start = last_resort_start(evidence, outlook.status.deadline or outlook.now)
            yield self._labelled("! NO BOOK", f"the cash alone can be paid from {utc(start)}; the book pays the legs")
        if evidence.half_signed and outlook.phase in (ChannelPhase.OPEN, ChannelPhase.DISPUTED):
            yield self._labelled(
                "! HALF", f"you signed version {evidence.half_signed}; the peer may complete it and show it instead"
            )
        if abs(outlook.now - self.clock) > SKEW:
            word = "behind" if outlook.now < self.clock else "ahead of"
            skew = span(int(abs(outlook.now - self.clock)))
            yield self._labelled("! CLOCK", f"chain is {skew} {word} this machine; the chain's clock counts")

    def _plan(self) -> list[str]:
        """The steps ahead, the next one first."""
        step, phase = self.step, self.outlook.phase
        if isinstance(step, Finished):
            return [f"nothing: {step.what}"]
        first = step.what if isinstance(step, Act) else f"wait for {step.what} (Ctrl-C is safe)"
        steps = [first]
        if self.outlook.close or phase is ChannelPhase.CLOSED:
            return steps
        call = step.call.name if isinstance(step, Act) else ""
        if call == "liquidate":
            return steps
        if isinstance(step, Wait) and self._waits_for_the_peer(step):
            return [*steps, "liquidate, unless the peer has cured: both sides are paid"]
        if call in ("deposit", "cure"):
            steps += ["cure the margin call"] if call == "deposit" else []
            steps += ["open the dispute"] if phase is ChannelPhase.OPEN else []
        if isinstance(step, Act) and phase is not ChannelPhase.SETTLING:
            steps.append("wait for the deadline (Ctrl-C is safe)")
        if self.book is None:
            return steps
        if self.book.last_expiry > self.outlook.now and not (isinstance(step, Wait) and phase is ChannelPhase.SETTLING):
            steps.append("wait for the last leg to expire and its settlement price")
        if not (isinstance(step, Act) and step.call.name == "settle"):
            steps.append("settle: both sides are paid")
        return steps

    def _waits_for_the_peer(self, step: Wait) -> bool:
        call = self.outlook.call_on(self.evidence.me.other)
        return self.dispute.orders.liquidate and call is not None and step.until == call.deadline

    # Values as text

    def _equity(self, state: State | None, book: Book) -> int:
        """What a state is worth to us now at its own marks: cash, and the legs rounded down."""
        me, decimals = self.evidence.me, self.evidence.terms.decimals
        return cash_of(self.outlook.status, state)[me] + value(book, t=self.outlook.now, decimals=decimals)[me]

    def _sides(self, pair: Sequence[int]) -> tuple[int, int]:
        return pair[self.evidence.me], pair[self.evidence.me.other]

    def _money(self, amount: int) -> str:
        decimals = self.evidence.terms.decimals
        return f"{show(amount, decimals, min(2, decimals))} {self.symbol}"

    def _labelled(self, label: str, text: str) -> list[str]:
        lines = wrap(text, self.width - LABEL, break_on_hyphens=False)
        return [(label if i == 0 else "").ljust(LABEL) + line for i, line in enumerate(lines)]

    def _numbered(self, label: str, steps: Sequence[str]) -> list[str]:
        if len(steps) == 1:
            return self._labelled(label, steps[0])
        return [line for i, step in enumerate(steps) for line in self._labelled("" if i else label, f"{i + 1}. {step}")]


def _leg(leg: Leg) -> str:
    return ("+" if leg.quantity > 0 else "") + str(leg)


def _ether(wei: int, *, up: bool = False) -> str:
    """Wei as ether with six places; `up` for a need, so that it is never understated."""
    unit = 10 ** (ETHER - 6)
    return show(-(-wei // unit) if up else wei // unit, 6)
