"""What `channels dispute` says while it runs: one line per step, a countdown while it waits, the amounts at the end."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from textwrap import wrap

from ..chain.port import Receipt
from ..errors import RpcUnavailable, TransactionReverted
from ..runtime.dispute import Dispute
from ..runtime.dispute_steps import Act, Outlook, Step, Wait
from ..units import show
from .dispute_screen import LABEL, WIDTH
from .dispute_times import span, utc


def paid(dispute: Dispute, outlook: Outlook, symbol: str) -> list[str]:
    """Return what is said at the end."""
    me, decimals, payouts = dispute.evidence.me, dispute.evidence.terms.decimals, outlook.payouts
    if payouts is None:
        return [f"Done: {dispute.next_step(outlook).what}."]
    amounts = [show(amount, decimals) for amount in (payouts[me], payouts[me.other])]
    return [
        f"Done: you were paid {amounts[0]} {symbol}, the peer {amounts[1]} {symbol}.",
        f"Yours went to {dispute.evidence.owner}.",
    ]


class Progress:
    """Says what happens while the program runs: a countdown in place on a terminal, else a line when something changes.

    `every`: seconds after which an unchanged wait is said again where there is no terminal.
    """

    def __init__(self, *, live: bool, every: float) -> None:
        self._live, self._every = live, every
        self._open = False
        self._said: str = ""
        self._when = 0.0

    def tell(self, outlook: Outlook, what: Step | Receipt | TransactionReverted | RpcUnavailable) -> None:
        """Say a step before it is taken, its receipt, or a trouble that is waited out."""
        stamp = f"{datetime.fromtimestamp(outlook.now, UTC):%d %b %H:%M:%S} UTC"
        match what:
            case Act(_, doing):
                self.line(f"{stamp}  {doing}")
            case Receipt():
                self.line(f"{stamp}  mined in block {what.block}, {what.gas_used} gas, transaction {what.transaction}")
            case Wait(until, subject):
                self._wait(stamp, until, subject, outlook.now)
            case TransactionReverted():
                self.line(f"{stamp}  not sent, looking again: {what.reason}")
            case RpcUnavailable():
                self._repeated(f"{stamp}  trying again: {what}", str(what))
            case _:
                pass

    def line(self, text: str) -> None:
        """Print a line of its own."""
        lines = wrap(text, WIDTH, subsequent_indent=" " * LABEL, break_on_hyphens=False)
        print(("\r\x1b[K" if self._open else "") + "\n".join(lines), flush=True)
        self._open, self._said = False, ""

    def _wait(self, stamp: str, until: int, subject: str, now: int) -> None:
        left = until - now
        text = f"waiting for {subject}" + (f", {utc(until)} (Ctrl-C is safe)" if left > 0 else " (Ctrl-C is safe)")
        if not self._live:
            self._repeated(f"{stamp}  {text}", text)
            return
        if text != self._said:
            self.line(f"{stamp}  {text}")
            self._said = text
        if left > 0:
            print(f"\r\x1b[K{stamp}  {span(left)} left", end="", flush=True)
            self._open = True

    def _repeated(self, line: str, key: str) -> None:
        now = time.monotonic()
        if key != self._said or now - self._when >= self._every:
            self.line(line)
            self._said, self._when = key, now
