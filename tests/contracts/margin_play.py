"""How margin deeds are prepared: a spot that moves, who is in breach, the rows that prove it, and the wait."""

from channels.risk import MarginReport
from tests.contracts.duel import ROGUE, Seat
from tests.contracts.encoding import BTC, ETH, SETTLING, WAD, State
from tests.contracts.evm import STRANGER
from tests.contracts.laboratory import HONEST, REVERTING
from tests.contracts.margins import FICKLE, NONE, EngineRefuses, Shipped
from tests.contracts.model import Refused
from tests.contracts.play import Play
from tests.contracts.shelf import book_of

UNLIKELY = 99
"""A row that no grid has."""


class MarginPlay(Play):
    """The moves of those who call, cure, close out and release."""

    # ── prices ──

    def quote(self, seat: Seat, price: int) -> None:
        """Let the seat's source see a whole price for both underlyings now."""
        for underlying in (ETH, BTC):
            self.duel.spot(int(seat.index == ROGUE), underlying, price * WAD)

    def run(self, seat: Seat, state: State | None, price: int) -> None:
        """Let the spot run, to `price` first and then further both ways, until somebody is in breach on a state."""
        for spot in (price, 1_500, 2_700, 900, 6_000):
            self.quote(seat, spot)
            reports = self.reports(seat, state) if state else None
            if reports is None or any(report.equity < report.maintenance_margin for report in reports):
                return

    def reports(self, seat: Seat, state: State) -> tuple[MarginReport, MarginReport] | None:
        """Return both parties' margin on a state as it would be measured now, None where nobody can tell."""
        account, model = seat.account, self.duel.model
        engine = model.engines.get(account.terms.engine)
        data = book_of(state)[0]
        if not isinstance(engine, Shipped):
            return None
        due = account.due(state)
        cash = account.cash(state)[0] - due[0], account.cash(state)[1] - due[1]
        try:
            return engine.reports(data, cash, account.terms.decimals, model.prices(account, state, data, False))
        except (Refused, EngineRefuses):
            return None

    def weaker(self, seat: Seat, state: State, party: int) -> int:
        """Return a party in breach, `party` if there is none or both are."""
        reports = self.reports(seat, state)
        weak = [report.party for report in reports or () if report.equity < report.maintenance_margin]
        return weak[0] if len(weak) == 1 else party

    def witness(self, seat: Seat, state: State, party: int, rows: str) -> list[int]:
        """Return the rows to name."""
        data, contents = book_of(state)
        count = len(contents.spots) if contents else 0
        account, model = seat.account, self.duel.model
        engine = model.engines.get(account.terms.engine)
        if rows == "worst" and isinstance(engine, Shipped):
            try:
                prices = model.prices(account, state, data, False)
                return engine.witness(data, party, account.terms.decimals, prices)
            except (Refused, EngineRefuses):
                pass
        return {"worst": [0] * count, "harmless": [2] * count, "none": [0] * (count + 1)}.get(rows, [UNLIKELY] * count)

    # ── who ──

    def caller(self, seat: Seat, party: int, who: str) -> str:
        """Return who makes a deed against `party`."""
        terms = seat.terms
        return {
            "signer": terms.signers[1 - party],
            "owner": terms.owners[1 - party],
            "self": terms.signers[party],
        }.get(who, STRANGER)

    def subject(self, seat: Seat, party: int, book: int, drawn: int = 0, new: bool = False) -> State | None:
        """Return the state to measure: the registered one, or a newer one with positions if that can still be.

        In the newer one, party 0 and 1 withdraw so many quarters of what they have. `new` prefers it.
        """
        account, now = seat.account, self.duel.chain.now
        if account.closed:
            return None
        registered = account.registered
        contents = book_of(registered)[1] if registered else None
        alive = contents is not None and any(leg.expiry > now for leg in contents.legs)
        if account.phase(now) == SETTLING or (alive and not drawn and not new):
            return registered
        if not self.held_back(seat, operate=True):
            for taker in (0, 1) if drawn else ():
                self.pact(seat, self.moved(seat, "withdraw", taker, drawn, 0), "both")
            self.pact(seat, self.moved(seat, "trade", party, 1, book), "both")
        newest = seat.pacts[-1].state if seat.pacts else None
        return newest if newest and newest.version > account.version else registered

    # ── deeds ──

    def call(self, name: str, seat: Seat, state: State, party: int, who: str, rows: str = "worst") -> str:
        """Call `party` on a state: signed if it is not the registered one."""
        sigs = (b"", b"")
        if state != seat.account.registered:
            sigs = self.signatures(seat, next(pact for pact in seat.pacts if pact.state == state))
        args = (book_of(state)[0], party, self.witness(seat, state, party, rows))
        return self.duel.act(name, "margin_call", seat, state, *sigs, *args, sender=self.caller(seat, party, who))

    def cure(self, seat: Seat, party: int, who: int | None, name: str = "cure") -> str:
        """Show that `party` holds its initial margin, or try to."""
        state = seat.account.registered or seat.nothing
        return self.duel.act(name, "cure", seat, state, book_of(state)[0], party, sender=self.who(seat, who))

    def top_up(self, seat: Seat, party: int, beyond: int) -> None:
        """Deposit what `party` lacks of its initial margin, and so much more or less."""
        state = seat.account.registered or seat.nothing
        reports = self.reports(seat, state)
        lacking = reports[party].initial_margin - reports[party].equity if reports else 0
        if lacking + beyond > 0:
            self.deposit("top-up", seat, party, lacking + beyond, seat.terms.owners[party])

    def liquidate(self, seat: Seat, party: int, who: str, rows: str = "worst", name: str = "liquidate") -> str:
        """Close `party` out by the registered state; an honest party would first show a newer one."""
        sender = self.caller(seat, party, who)
        if seat.honest is not None and seat.account.is_side_of(sender, seat.honest) and not seat.account.closed:
            self.duel.answer(seat)
        state = seat.account.registered or seat.nothing
        args = (book_of(state)[0], party, self.witness(seat, state, party, rows))
        return self.duel.act(name, "liquidate", seat, state, *args, sender=sender)

    def besiege(self, seat: Seat) -> None:
        """Let the adversary call the honest party, and try to close it out, with all that is in its hands.

        The spot runs until the shipped engine sees a breach; a fickle engine sees one anywhere, and is dead thereafter,
        as is the source of ROGUE: a call that nobody can cure or execute any more must hold up nothing.
        """
        state, honest = seat.account.registered, seat.honest
        if state is None or honest is None or seat.engine == NONE:
            return
        duel, kind = self.duel, "fickle" if seat.engine == FICKLE else "shipped"
        if seat.index == ROGUE:
            duel.mood(1, HONEST)
        if seat.engine == FICKLE:
            duel.engine_mood(0)
            duel.engine_says(-1, True, 0, 0)
        self.run(seat, state, 2_100)
        self.call(f"siege call {kind}", seat, state, honest, "owner")
        self.until(seat, honest, "deadline", 0)
        if seat.account.closed or not seat.account.calls[honest].armed:
            return
        if seat.engine == FICKLE:
            self.quote(seat, 2_100)
            duel.engine_mood(1 + self.turns % 3)
            self.cure(seat, honest, None, f"siege cure {kind}")
        elif seat.index == ROGUE:
            duel.mood(1, REVERTING)
        else:
            self.run(seat, seat.account.registered, 2_100)
        self.liquidate(seat, honest, "owner", name=f"siege liquidation {kind}")

    def release(self, seat: Seat, party: int, share: int, beyond: int, who: str) -> str:
        """Take so many halves of what may be taken, and so much more."""
        state = seat.account.registered or seat.nothing
        data = book_of(state)[0]
        try:
            most = self.duel.model.releasable(seat.account, state, data, party)
        except Refused:
            most = 2
        amount = max(0, most * share // 2 + beyond)
        sender = self.caller(seat, 1 - party, who)
        return self.duel.act("release", "release", seat, state, data, party, amount, sender=sender)

    def until(self, seat: Seat, party: int, target: str, offset: int) -> None:
        """Wait until around a call's deadline, or around the end of its execution window."""
        account, state = seat.account, seat.account.registered
        if state is None or not account.calls[party].armed:
            return
        moment = account.calls[party].deadline
        if target == "window":
            moment = self.duel.model.window_end(account, party, state, book_of(state)[0])
        if moment + offset > self.duel.chain.now:
            self.duel.advance(moment + offset)
            self.duel.tally["advance", f"{target} of a call {offset:+}"] += 1
