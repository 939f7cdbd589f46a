"""The machine's rules about margin: calls, cures, close-outs and releases, at the worst moments, by whoever likes."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.contracts.choices import (
    ages,
    books,
    callers,
    desks,
    lies,
    moments,
    parties,
    people,
    prices,
    recency,
    rows,
    spots,
)
from tests.contracts.duel import CURE, UNIT, Duel, Seat
from tests.contracts.encoding import CLOSED, SETTLING, WAD
from tests.contracts.margin_play import MarginPlay
from tests.contracts.margins import FICKLE
from tests.contracts.shelf import FIRST, LINES, MAD, SANE, SECOND, book_of


class MarginRules(RuleBasedStateMachine):
    """Deeds against a party's margin. What a fickle engine says is drawn anew with every story."""

    duel: Duel
    play: MarginPlay

    # ── deeds out of the blue ──

    @rule(index=desks, which=st.none() | recency, party=parties, who=callers, spot=st.none() | spots, how=rows)
    def margin_call(self, index: int, which: int | None, party: int, who: str, spot: int | None, how: str) -> None:
        """Call on the registered state, or on any that was ever signed, at a new spot or at a stale one."""
        seat = self.play.seat(index)
        if spot is not None:
            self.play.quote(seat, spot)
        state = seat.account.registered or seat.nothing
        if which is not None and which < len(seat.pacts):
            state = seat.pacts[-1 - which].state
        if state != seat.nothing or not seat.account.registered:
            known = state == seat.account.registered or any(pact.state == state for pact in seat.pacts)
            if known:
                self.play.call("margin_call", seat, state, self.play.weaker(seat, state, party), who, how)

    @rule(index=desks, party=st.integers(0, 2), who=people, spot=st.none() | spots, beyond=st.integers(-1, 1))
    def cure(self, index: int, party: int, who: int | None, spot: int | None, beyond: int) -> None:
        """Cure a call that is pending, or be a unit short of it; or claim that a party is compliant, whoever it is."""
        seat = self.play.seat(index)
        if spot is not None:
            self.play.quote(seat, spot)
        self.play.cure(seat, party, who)
        called = self._pending(seat)
        if called is not None:
            self.play.run(seat, seat.account.registered, 2_100)
            self.play.top_up(seat, called, beyond)
            self.play.cure(seat, called, who, f"cured {beyond:+}")

    @rule(index=desks, party=parties, who=callers, spot=st.none() | spots, how=rows)
    def liquidate(self, index: int, party: int, who: str, spot: int | None, how: str) -> None:
        """Close a party out: one whose call is pending when it may be done, or one that was never called."""
        seat = self.play.seat(index)
        called = self._pending(seat)
        if called is not None:
            self.play.until(seat, called, "deadline", 0)
            self.play.run(seat, seat.account.registered, spot or 2_100)
            self.play.liquidate(seat, called, who, how)
            return
        if spot is not None:
            self.play.quote(seat, spot)
        state = seat.account.registered or seat.nothing
        self.play.liquidate(seat, self.play.weaker(seat, state, party), who, how)

    # ── stories ──

    @rule(
        index=desks,
        party=parties,
        book=books,
        when=moments,
        spot=spots,
        drawn=st.sampled_from((0, 0, 1, 4)),
        between=st.sampled_from(("", "", "top-up", "cure", "other", "rechallenge", "settling")),
        until=st.sampled_from(("deadline", "deadline", "window")),
        offset=st.integers(-1, 1),
        later=st.none() | spots,
        age=ages,
        report=st.none() | prices,
        who=callers,
        lie=lies,
    )
    def close_out(
        self,
        index: int,
        party: int,
        book: int,
        when: int | None,
        spot: int,
        drawn: int,
        between: str,
        until: str,
        offset: int,
        later: int | None,
        age: int,
        report: int | None,
        who: str,
        lie: tuple[int, bool, int, int],
    ) -> None:
        """A call, what happens meanwhile, and its execution around the first or the last second for it."""
        seat = self._begun(index, when, lie)
        called = self._called(seat, party, book, spot, drawn)
        if called is None:
            return
        self._meanwhile(seat, called, between, offset)
        self.play.until(seat, called, until, offset)
        self.play.quote(seat, later) if later is not None else self.play.run(seat, seat.account.registered, spot)
        if age:
            self.duel.advance(self.duel.chain.now + age)
        if report is not None:
            self._settle_expired(seat, report)
        self.play.liquidate(seat, called, who, name=f"close_out {until} {offset:+}")

    @rule(
        index=desks,
        party=parties,
        book=books,
        spot=spots,
        pause=st.sampled_from((0, 1, CURE // 2, CURE - 1, CURE, 2 * CURE, 2 * CURE + 1)),
        offset=st.integers(-1, 1),
        lie=lies,
    )
    def reveal(
        self, index: int, party: int, book: int, spot: int, pause: int, offset: int, lie: tuple[int, bool, int, int]
    ) -> None:
        """A newer state disarms a call; after a pause the call is made again, on that state, and executed in time."""
        seat = self._begun(index, None, lie)
        called = self._called(seat, party, book, spot)
        if (
            called is None
            or self.play.held_back(seat, operate=True)
            or seat.account.phase(self.duel.chain.now) == SETTLING
        ):
            return
        self.play.pact(seat, self.play.moved(seat, "pay", called, 1, 0), "both")
        self.duel.advance(self.duel.chain.now + pause) if pause else None
        if seat.account.closed:
            return
        self.play.submit("challenge" if seat.account.deadline else "checkpoint", seat, 0, None, "reveal")
        state = seat.account.registered
        self.play.run(seat, state, spot)
        if state is None or self.play.call("recall", seat, state, called, "signer") != "ok":
            return
        self.play.until(seat, called, "deadline", offset)
        self.play.run(seat, seat.account.registered, spot)
        self.play.liquidate(seat, called, "signer", name=f"reveal {offset:+}")

    @rule(
        index=desks,
        party=parties,
        expiry=st.sampled_from((FIRST, FIRST, SECOND)),
        before=st.sampled_from((CURE, 2 * CURE, 6 * CURE)),
        spot=spots,
        both=st.booleans(),
        offset=st.integers(-1, 1),
        report=st.sampled_from((None, 1_900 * WAD, 2_000 * WAD + 7, 2_345 * WAD)),
        lie=lies,
    )
    def late(
        self,
        index: int,
        party: int,
        expiry: int,
        before: int,
        spot: int,
        both: bool,
        offset: int,
        report: int | None,
        lie: tuple[int, bool, int, int],
    ) -> None:
        """A leg expires in the window of a call, or of two: it is executed once the leg has settled, or too late."""
        seat = self._begun(index, expiry - before, lie)
        called = self._called(seat, party, len(SANE) - 1, spot, new=True)
        if called is None:
            return
        self._meanwhile(seat, called, "other" if both else "", 0)
        until = "window" if before < 6 * CURE else "deadline"
        self.play.until(seat, called, until, offset)
        if report is not None:
            self._settle_expired(seat, report)
        self.play.run(seat, seat.account.registered, spot)
        self.play.liquidate(seat, called, "signer", name=f"late {until} {offset:+}")

    @rule(
        index=desks,
        party=parties,
        stale=recency,
        spot=spots,
        share=st.sampled_from((0, 1, 2, 2, 2)),
        beyond=st.sampled_from((0, 0, 1)),
        who=callers,
        lie=lies,
        report=st.none() | prices,
    )
    def release(
        self,
        index: int,
        party: int,
        stale: int,
        spot: int,
        share: int,
        beyond: int,
        who: str,
        lie: tuple[int, bool, int, int],
        report: int | None,
    ) -> None:
        """Take out what is not needed, or a unit more."""
        seat = self._begun(index, None, lie)
        if share:
            self.play.to_settling(seat, stale)
        self.play.quote(seat, spot)
        if report is not None:
            self._settle_expired(seat, report)
        self.play.release(seat, party, share, beyond, who)

    @rule(book=st.sampled_from(MAD), party=parties, spot=st.sampled_from((0, 2_000, 2**40)))
    def margin_madness(self, book: bytes, party: int, spot: int) -> None:
        """Call on a book that no engine can read, at no price, at one beyond every bound."""
        seat = self.duel.seats[1]
        self.play.pact(seat, self.play.greedy(seat, (0, 0), 1, 0, book), "both")
        self.play.quote(seat, spot)
        self.play.call("margin_madness", seat, seat.pacts[-1].state, party, "signer")

    @rule(mode=st.sampled_from((0, 0, 0, 1, 2, 3)))
    def engine_mood(self, mode: int) -> None:
        """The fickle engine answers, reverts, burns its gas, or answers nonsense."""
        self.duel.engine_mood(mode)
        self.duel.tally["engine_mood", str(mode)] += 1

    # ── parts of stories ──

    def _begun(self, index: int, when: int | None, lie: tuple[int, bool, int, int]) -> Seat:
        seat = self.play.seat(index)
        if when is not None and when > self.duel.chain.now:
            self.duel.advance(when)
        if seat.engine == FICKLE:
            self.duel.engine_says(*lie)
        return seat

    def _pending(self, seat: Seat) -> int | None:
        """Return who is called, None if nobody is."""
        return next((party for party in range(2) if seat.account.calls[party].armed), None)

    def _called(self, seat: Seat, party: int, book: int, spot: int, drawn: int = 0, new: bool = False) -> int | None:
        """Call the weaker party, or find it called; None if there is nothing to call about."""
        state = self.play.subject(seat, party, book, drawn, new)
        if state is None:
            return None
        self.play.run(seat, state, spot)
        party = self.play.weaker(seat, state, party)
        self.play.call("call", seat, state, party, "signer")
        return party if seat.account.calls[party].armed else None

    def _meanwhile(self, seat: Seat, party: int, what: str, beyond: int) -> None:
        if what == "top-up":
            self.play.deposit("top-up", seat, party, 50 * UNIT, seat.terms.owners[party])
        elif what == "cure":
            self.play.top_up(seat, party, beyond)
            self.play.cure(seat, party, None, f"cured {beyond:+}")
        elif what == "other":
            self.play.quote(seat, 2_700 if self._leans(seat) == party else 1_500)
            state = seat.account.registered
            if state is not None:
                self.play.call("call", seat, state, 1 - party, "signer")
        elif what == "rechallenge":
            self.play.dispute(seat, 0)
        elif what == "settling" and seat.account.phase(self.duel.chain.now) != CLOSED:
            self.play.to_settling(seat, 0)

    def _leans(self, seat: Seat) -> int:
        """Return the party that gains when the spot rises, by the first leg."""
        contents = book_of(seat.account.registered or seat.nothing)[1]
        leg = contents.legs[0] if contents and contents.legs else None
        return int(leg is not None and (leg.quantity > 0) == (leg.kind == 1))

    def _settle_expired(self, seat: Seat, price: int) -> None:
        for line in LINES:
            if line[1] <= self.duel.chain.now:
                self.play.settlement(seat.index == 2, line, price)
