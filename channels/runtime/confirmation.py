"""The confirmation of an agreed state: what both sides print, file and compare."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ..model import (
    Acknowledge,
    Agreed,
    Close,
    CloseOut,
    Deployment,
    Mark,
    Marks,
    Operation,
    Party,
    Reopen,
    SettleExpiry,
    Terms,
    Trade,
    Withdraw,
)
from ..seal import state_digest
from ..units import show


@dataclass(frozen=True, slots=True)
class Confirmation:
    """An agreed state and how it came about, seen by party `me`. `str()` is the text to file."""

    deployment: Deployment
    terms: Terms
    me: Party
    agreed: Agreed
    operations: tuple[Operation, ...]

    @property
    def version(self) -> int:
        return self.agreed.version

    @property
    def digest(self) -> bytes:
        """What both sides signed: equal on both confirmations, or it is not the same trade."""
        return state_digest(self.deployment, self.agreed.state)

    def __str__(self) -> str:
        state = self.agreed.state
        lines = [
            f"Confirmation of version {state.version} in channel 0x{state.channel.hex()[:16]}…",
            f"  digest      0x{self.digest.hex()}",
            f"  parties     0: {self.terms.signers[0]}   1: {self.terms.signers[1]}   (we are {int(self.me)})",
        ]
        for operation in self.operations:
            lines += [f"  {line}" for line in self._describe(operation)]
        lines.append(f"  cash        0: {self._money(state.balances[0])}   1: {self._money(state.balances[1])}")
        return "\n".join(lines)

    def _describe(self, operation: Operation) -> list[str]:
        match operation:
            case Trade(legs, premium, marks, _):
                lines = []
                for leg in legs:
                    buyer = Party.ZERO if leg.quantity > 0 else Party.ONE
                    lines.append(f"trade       party {int(buyer)} buys {leg.times(1 if leg.quantity > 0 else -1)}")
                payer = 0 if premium >= 0 else 1
                lines.append(f"premium     party {payer} pays {self._money(abs(premium))}")
                return [*lines, *_marked(marks)]
            case Withdraw(amount):
                return [f"withdrawal  {self._money(amount)}"]
            case Mark(marks):
                return _marked(marks) or ["marks       none: there is no position to mark"]
            case Acknowledge(deposits, payments):
                amounts = f"deposits {self._money(deposits[0])} and {self._money(deposits[1])}"
                return [f"on-chain    {amounts}, payments {self._money(payments[0])} and {self._money(payments[1])}"]
            case SettleExpiry(underlying, expiry, price):
                moment = datetime.fromtimestamp(expiry, UTC)
                return [f"settlement  {underlying} {moment:%Y-%m-%d %H:%M} UTC at {show(price, 18, 2)}"]
            case CloseOut(party):
                return [f"close-out   every position at the marks, party {int(party)} pays the charge"]
            case Close(transfer, _):
                return [f"close       party {0 if transfer >= 0 else 1} pays {self._money(abs(transfer))}"]
            case Reopen():
                return ["reopen      the dispute ends"]

    def _money(self, amount: int) -> str:
        return show(amount, self.terms.decimals, min(2, self.terms.decimals))


def _marked(marks: Marks) -> list[str]:
    """When marks were made, and at which spots; nothing for the marks of an empty book."""
    if not marks.keys:
        return []
    spots = ", ".join(f"{mark.underlying} {show(mark.spot, 18, 2)}" for mark in marks.spots)
    return [f"marks       {datetime.fromtimestamp(marks.time, UTC):%Y-%m-%d %H:%M:%S} UTC, {spots}"]
