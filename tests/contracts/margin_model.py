"""The model's margin entry points: protocol §3.2 in plain Python, figures by the library (`margins`).

The clock of a call is a cure deadline and whether it stands against the registered version; the contract packs the same
into one number. Each rule below is written from the table and from the interface, not from the contract.
"""

from collections.abc import Sequence

from tests.contracts.encoding import CALL, OPERATE, PUT, SETTLING, State
from tests.contracts.margins import Engine, EngineRefuses, Prices
from tests.contracts.model import LIMIT, Account, Adjudicator, MarginCall, Refused, Said, require

HOUR, DAY = 3_600, 86_400
MAX_INT256 = 2**255 - 1


class MarginAdjudicator(Adjudicator):
    """The model with margin: `engines` by address, whose answers it believes as the contract does."""

    engines: dict[str, Engine]

    # ── entry points ──

    def margin_call(
        self,
        account: Account,
        sender: str,
        state: State,
        sig0: bytes,
        sig1: bytes,
        book: bytes,
        party: int,
        witness: Sequence[int],
    ) -> list[Said]:
        """Call `party` on a newer state, or on exactly the registered one."""
        require(not account.closed, "adjudicator: closed")
        self._require_protected(account, sender, party)
        newer = state != account.registered
        if newer:
            require(account.phase(self.now) != SETTLING, "adjudicator: deadline passed")
            self._require_agreed(account, state, (sig0, sig1))
            require(state.intent == OPERATE, "adjudicator: operate states only")
        require(newer or not self.stands(account, party, state, book), "adjudicator: call pending")
        cash = account.cash(state)[party] - account.due(state)[party]
        self._require_breach(account, state, book, party, cash, witness, False)
        deadline = self._cure_deadline(account, party)
        registered, *paid = self._register(account, state, account.deadline)
        account.calls[party] = MarginCall(deadline, True)
        return [registered, Said("Called", {"channel": account.id, "party": party, "deadline": deadline}), *paid]

    def cure(self, account: Account, sender: str, state: State, book: bytes, party: int) -> list[Said]:
        """End a call: the whole grid, initial margin."""
        require(not account.closed, "adjudicator: closed")
        require(party < 2, "adjudicator: no such party")
        require(state == account.registered, "adjudicator: not as registered")
        require(account.calls[party].armed, "adjudicator: no call pending")
        excess = self._excess(account, state, book, party, False)
        require(excess >= 0, "adjudicator: not compliant")
        account.calls[party] = MarginCall()
        return [Said("Cured", {"channel": account.id, "party": party})]

    def liquidate(
        self, account: Account, sender: str, state: State, book: bytes, party: int, witness: Sequence[int]
    ) -> list[Said]:
        """Close `party` out at the mark."""
        require(not account.closed, "adjudicator: closed")
        self._require_protected(account, sender, party)
        require(state == account.registered, "adjudicator: not as registered")
        require(self.is_executable(account, party, state, book), "adjudicator: no executable call")
        cash = account.cash(state)[party]
        value, charge = self._require_breach(account, state, book, party, cash, witness, True)
        if self.is_executable(account, 1 - party, state, book):
            charge = 0
        said = Said("Liquidated", {"channel": account.id, "party": party, "value0": value, "charge": charge})
        payoff = _int256(value + (_int256(-charge) if party == 0 else charge))
        _int256(account.cash(state)[0] + payoff)
        return [said, *self._close(account, state, payoff)]

    def release(self, account: Account, sender: str, state: State, book: bytes, party: int, amount: int) -> list[Said]:
        """Pay a party what it holds above its initial margin, as far as it is cash or realised."""
        require(not account.closed, "adjudicator: closed")
        require(account.phase(self.now) == SETTLING, "adjudicator: not settling")
        require(party < 2, "adjudicator: no such party")
        require(account.is_side_of(sender, party), "adjudicator: not a side")
        require(state == account.registered, "adjudicator: not as registered")
        require(amount != 0, "adjudicator: zero amount")
        require(amount <= self.releasable(account, state, book, party), "adjudicator: beyond the excess")
        require(amount < LIMIT, "adjudicator: beyond the excess")
        said = Said("Released", {"channel": account.id, "party": party, "amount": amount})
        return [said, *self._pay(account, (amount, 0) if party == 0 else (0, amount))]

    # ── what views would say ──

    def releasable(self, account: Account, state: State, book: bytes, party: int) -> int:
        """Return min(excess, cash + settled payoff, pot), which may be negative; Refused where it cannot be known."""
        excess = self._excess(account, state, book, party, True)
        settled = 0
        for leg in self._open(state, book).legs:
            if self.now >= leg.expiry:
                require(leg.kind in (CALL, PUT), "payoff: unknown kind")
                price = self.price(account, leg.underlying, leg.expiry)
                settled += leg.quantity * max(0, price - leg.strike if leg.kind == CALL else leg.strike - price)
        mine = settled if party == 0 else -settled
        return min(excess, account.cash(state)[party] + mine // 10 ** (36 - account.terms.decimals), account.pot)

    def stands(self, account: Account, party: int, state: State, book: bytes) -> bool:
        """Return whether a call stands against the registered version and has not lapsed."""
        return account.calls[party].armed and self.now < self.window_end(account, party, state, book)

    def is_executable(self, account: Account, party: int, state: State, book: bytes) -> bool:
        """Return whether the call may be executed now."""
        return self.now >= account.calls[party].deadline and self.stands(account, party, state, book)

    def window_end(self, account: Account, party: int, state: State, book: bytes) -> int:
        """Return the first second at which the call has lapsed."""
        terms = account.terms
        end = account.calls[party].deadline + min(max(terms.cure_period, HOUR), DAY)
        waits = [line[1] + 2 * terms.grace for line in self._open(state, book).lines if line[1] < end]
        return max([end, *waits])

    def prices(self, account: Account, state: State, book: bytes, settled: bool) -> Prices:
        """Return fresh spots, and the settlements of what has expired."""
        terms, contents = account.terms, self._open(state, book)
        spots, settlements = [], []
        for underlying in sorted(contents.spots):
            spots.append(self.sources[terms.source].fresh_spot(underlying, 0, self.now, terms.spot_max_age))
            require(spots[-1] != 0, "adjudicator: no fresh spot")
        for underlying, expiry in contents.lines:
            settlements.append(self.price(account, underlying, expiry))
            known = settlements[-1] != 0 or self.now < expiry
            require(known or not settled, "adjudicator: no settlement price")
        return Prices(tuple(spots), tuple(settlements), self.now)

    # ── rules ──

    def _require_protected(self, account: Account, sender: str, party: int) -> None:
        require(party < 2, "adjudicator: no such party")
        require(account.is_side_of(sender, 1 - party), "adjudicator: not a side")

    def _require_breach(
        self, account: Account, state: State, book: bytes, party: int, cash: int, witness: Sequence[int], settled: bool
    ) -> tuple[int, int]:
        engine = self._engine(account)
        prices = self.prices(account, state, book, settled)
        try:
            proven, values, charges = engine.liquidation(book, party, cash, account.terms.decimals, prices, witness)
        except EngineRefuses as refusal:
            raise Refused(refusal.reason) from None
        require(proven, "adjudicator: no breach")
        return values[0], charges[party]

    def _excess(self, account: Account, state: State, book: bytes, party: int, settled: bool) -> int:
        engine = self._engine(account)
        prices = self.prices(account, state, book, settled)
        try:
            return engine.excess(book, party, account.cash(state)[party], account.terms.decimals, prices)
        except EngineRefuses as refusal:
            raise Refused(refusal.reason) from None

    def _engine(self, account: Account) -> Engine:
        require(account.terms.engine in self.engines, "adjudicator: no risk engine")
        return self.engines[account.terms.engine]

    def _cure_deadline(self, account: Account, party: int) -> int:
        """Return until when a call made now may be cured: soon after an earlier one, at least half the period."""
        cure, last = account.terms.cure_period, account.calls[party].deadline
        if last and self.now <= last + cure:
            return max(last, self.now + -(-cure // 2))
        return self.now + cure


def _int256(value: int) -> int:
    if not -MAX_INT256 - 1 <= value <= MAX_INT256:
        raise Refused("")  # checked arithmetic reverts without a word
    return value
