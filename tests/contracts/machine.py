"""The state machine: honest parties, adversaries and strangers do whatever comes to mind to one adjudicator.

Every rule is a deed of the `Duel`, which does it to contract and model and checks all laws. What was done, and what
came of it, is tallied, so that a campaign can prove that each rule fired, with each of its outcomes.
"""

from collections import Counter
from dataclasses import replace
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.contracts.duel import CHALLENGE, GRACE, HOUR, LAST_RESORT, SYBIL, UNIT, Duel, Pact, Seat
from tests.contracts.encoding import CLOSE, CLOSED, DISPUTED, OPEN, OPERATE, REOPEN, WAD, State, high_s
from tests.contracts.evm import STRANGER
from tests.contracts.laboratory import ABSURD, BURNING, HONEST, REVERTING
from tests.contracts.model import LIMIT
from tests.contracts.shelf import FIRST, LINES, MAD, SANE, SECOND, book_of

seats = st.sampled_from((0, 1, 1, 2))
parties = st.integers(0, 1)
recency = st.sampled_from((0, 0, 0, 1, 2, 4))
people = st.sampled_from((0, 1, 2, 3, None, None))
"""Who acts: party 0's signer or owner, party 1's, or a stranger."""
amounts = st.sampled_from((1, 100 * UNIT, 333_333_333, 1_000 * UNIT))
hasty = st.sampled_from((True, False, False, False))
prices = st.sampled_from((1, 1_900 * WAD, 2_000 * WAD + 7, 2_345 * WAD, 9_000 * WAD, 2**96))


class Machine(RuleBasedStateMachine):
    """Deeds at random. `bytecode` is what is deployed, None for the shipped adjudicator."""

    bytecode: ClassVar[bytes | None] = None
    tally: ClassVar[Counter[tuple[str, str]]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.duel = Duel(self.bytecode)
        self._turns = 0

    @initialize(returnless=st.booleans(), honest=parties, book=st.integers(1, len(SANE) - 1))
    def begin(self, returnless: bool, honest: int, book: int) -> None:
        """Choose the token's habits and who is honest where; every channel gets its first money and its first trade."""
        self.duel = Duel(self.bytecode, returnless, honest)
        for seat in self.duel.seats:
            for party in range(2):
                self._deposit("begin", seat, party, 500 * UNIT, seat.terms.owners[party])
            for move in ("acknowledge", "trade"):
                self._pact(seat, self._moved(seat, move, 0, 0, book), "both")

    def teardown(self) -> None:
        """Let whoever is left leave: each honest party against each state that could still be used against it."""
        for seat in self.duel.seats:
            if seat.honest is not None:
                self._last_stand(seat)
        type(self).tally.update(self.duel.tally)

    # ── money in ──

    @rule(index=seats, party=parties, amount=amounts, who=people)
    def deposit(self, index: int, party: int, amount: int, who: int | None) -> None:
        seat = self._seat(index)
        self._deposit("deposit" if who is not None else "gift", seat, party, amount, self._who(seat, who))

    @rule(index=seats, how=st.sampled_from(((2, UNIT), (0, 0), (1, LIMIT - 1), (1, 10**15))), donation=amounts)
    def bad_deposit(self, index: int, how: tuple[int, int], donation: int) -> None:
        """Deposits that must be refused, and tokens that nobody accounts for."""
        self.duel.donate(donation)
        self.duel.act("bad_deposit", "deposit", self.duel.seats[index], *how)

    # ── signing ──

    @rule(
        index=seats,
        move=st.sampled_from(("pay", "withdraw", "trade", "trade", "acknowledge", "phantom")),
        party=parties,
        share=st.integers(1, 4),
        book=st.integers(1, len(SANE) - 1),
        by=st.sampled_from(("both", "both", "both", "honest", "adversary")),
    )
    def sign(self, index: int, move: str, party: int, share: int, book: int, by: str) -> None:
        """The next honest state: signed by both, by the honest party alone, or by the adversary alone."""
        seat = self._seat(index)
        if self._held_back(seat) and by != "adversary":
            self.duel.tally["sign", "held back"] += 1
            return
        state = self._moved(seat, move, party, share, book)
        self._pact(seat, state, by)
        self.duel.tally["sign", move] += 1

    @rule(
        version=st.integers(-1, 3),
        intent=st.sampled_from((OPERATE, OPERATE, OPERATE, REOPEN, CLOSE, 3)),
        until=st.sampled_from((None, None, None, -1, 0, 1, HOUR)),
        ahead=st.sampled_from((0, 0, 0, UNIT)),
        withdrawals=st.tuples(st.integers(0, 3), st.integers(0, 3)),
        balance=st.integers(-2, 3),
        book=st.sampled_from((*SANE, *SANE, *MAD)),
        fault=st.sampled_from((None,) * 7 + (1, LIMIT)),
        then=st.sampled_from(("", "checkpoint", "challenge", "challenge", "close")),
    )
    def sign_anything(
        self,
        version: int,
        intent: int,
        until: int | None,
        ahead: int,
        withdrawals: tuple[int, int],
        balance: int,
        book: bytes,
        fault: int | None,
        then: str,
    ) -> None:
        """Whatever two keys in one hand can sign."""
        seat = self.duel.seats[SYBIL]
        account, unit = seat.account, max(sum(seat.account.deposits), 1)
        valid_until = (0 if intent == OPERATE else HOUR) if until is None else until
        state = State(
            channel=account.id,
            version=max(0, account.version + version),
            intent=intent,
            valid_until=max(0, self.duel.chain.now + valid_until) if valid_until else 0,
            deposit0=account.deposits[0] + ahead,
            deposit1=account.deposits[1],
            withdrawal0=withdrawals[0] * unit // 2,
            withdrawal1=withdrawals[1] * unit // 2,
            book=bytes(32) if intent == CLOSE and until is None else book,
        )
        first = balance * unit // 2
        rest = state.deposit0 + state.deposit1 - state.withdrawal0 - state.withdrawal1 - first
        self._pact(seat, replace(state, balance0=first, balance1=rest + (fault or 0)), "both")
        if then:
            self._submit(then, seat, 0, 0, f"anything {then}")

    # ── states ──

    @rule(index=seats, which=recency, who=people)
    def checkpoint(self, index: int, which: int, who: int | None) -> None:
        self._submit("checkpoint", self._seat(index), which, who)

    @rule(index=seats, which=recency, who=people)
    def challenge(self, index: int, which: int, who: int | None) -> None:
        self._submit("challenge", self._seat(index), which, who)

    @rule(index=seats, stale=recency, which=recency, who=people, offset=st.integers(-1, 1))
    def answer(self, index: int, stale: int, which: int, who: int | None, offset: int) -> None:
        """A dispute, and an answer a second before, at or after the deadline."""
        seat = self._seat(index)
        self._dispute(seat, stale)
        if seat.account.phase(self.duel.chain.now) == DISPUTED:
            self.duel.advance(seat.account.deadline + offset)
        self._submit("challenge", seat, which, who, f"answer {offset:+}")

    @rule(index=seats, who=people)
    def rechallenge(self, index: int, who: int | None) -> None:
        """Start a dispute with exactly what is registered, unsigned."""
        seat = self._seat(index)
        if state := seat.account.registered:
            self.duel.act("rechallenge", "challenge", seat, state, b"", b"", sender=self._who(seat, who))

    @rule(index=seats, who=people)
    def challenge_unsigned(self, index: int, who: int | None) -> None:
        seat = self._seat(index)
        self.duel.act("challenge_unsigned", "challenge_unsigned", seat, sender=self._who(seat, who))

    @rule(
        index=seats,
        party=parties,
        share=st.integers(0, 4),
        ttl=st.sampled_from((0, 600, 2 * HOUR)),
        offset=st.sampled_from((None, None, None, -1, 0, 1)),
        who=people,
        honestly=st.sampled_from((True, True, True, False)),
    )
    def close(
        self, index: int, party: int, share: int, ttl: int, offset: int | None, who: int | None, honestly: bool
    ) -> None:
        """Agree to close and close, now or around the end of its validity; or try to close with something else."""
        seat = self._seat(index)
        if honestly and not self._held_back(seat):
            state = self._moved(seat, "pay", party, share, 0)
            self._pact(seat, self._special(state, CLOSE, ttl), "both")
        self._at_validity(seat, offset)
        self._submit("close", seat, 0, who, intent=CLOSE if honestly else None)

    @rule(
        index=seats,
        stale=recency,
        ttl=st.sampled_from((0, 600, 2 * HOUR)),
        offset=st.sampled_from((None, None, None, -1, 0, 1)),
        who=people,
    )
    def reopen(self, index: int, stale: int, ttl: int, offset: int | None, who: int | None) -> None:
        """A dispute, and an agreement to end it, shown now or around the end of its validity."""
        seat, now = self._seat(index), self.duel.chain.now
        self._dispute(seat, stale)
        registered, account = seat.account.registered, seat.account
        if registered is None or not account.deadline or self._held_back(seat) or account.phase(now) == CLOSED:
            return
        state = replace(registered if registered.version else self._fresh(seat), version=self._next(seat))
        self._pact(seat, self._special(state, REOPEN, ttl), "both")
        self._at_validity(seat, offset)
        self._submit("checkpoint", seat, 0, who, "reopen", REOPEN)

    @rule(
        index=seats,
        function=st.sampled_from(("checkpoint", "challenge", "close")),
        how=st.sampled_from(("high s", "short", "v", "swapped", "one-sided", "garbage", "elsewhere")),
    )
    def forge(self, index: int, function: str, how: str) -> None:
        """The newest state, with signatures that must not pass."""
        seat = self._seat(index)
        if not seat.pacts:
            return
        state = seat.pacts[-1].state
        first, second = self.duel.sign(seat, state)
        other = self.duel.seats[index - 1]
        target, sigs = {
            "high s": (seat, (first, high_s(second))),
            "short": (seat, (first[:64], second)),
            "v": (seat, (first, second[:64] + bytes([second[64] - 27]))),
            "swapped": (seat, (second, first)),
            "one-sided": (seat, (first, first)),
            "garbage": (seat, (bytes(31) + b"\x05" + bytes(31) + b"\1\x1b", second)),
            "elsewhere": (other, (first, second)),
        }[how]
        self.duel.act(f"forge {how}", function, target, state, *sigs, sender=target.terms.signers[0])

    # ── prices ──

    @rule(
        index=seats,
        line=st.integers(0, 4),
        who=people,
        wrong=st.sampled_from((False, False, False, True)),
        since=st.sampled_from((None, None, -1, 0, GRACE - 1, GRACE, 2 * GRACE - 1, 2 * GRACE, 3 * GRACE)),
        registered=st.booleans(),
    )
    def pin(self, index: int, line: int, who: int | None, wrong: bool, since: int | None, registered: bool) -> None:
        """Pin a line of the registered book, or one that it does not have, at a moment that matters."""
        seat = self._seat(index)
        if registered:
            self._dispute(seat, 0)
        state = seat.account.registered or seat.nothing
        data, contents = book_of(state)
        lines = contents.lines if contents and contents.lines and not wrong else LINES
        underlying, expiry = lines[line % len(lines)]
        if since is not None and expiry + since > self.duel.chain.now:
            self.duel.advance(expiry + since)
            state = seat.account.registered or seat.nothing
        self.duel.act("pin", "pin", seat, state, data, underlying, expiry, sender=self._who(seat, who))

    @rule(index=st.integers(0, 1), mode=st.sampled_from((HONEST, HONEST, REVERTING, BURNING, ABSURD)))
    def mood(self, index: int, mode: int) -> None:
        self.duel.mood(index, mode)
        self.duel.tally["mood", str(mode)] += 1

    @rule(index=st.integers(0, 1), line=st.sampled_from(LINES), price=prices | st.just(2**96 + 1), spot=st.booleans())
    def report(self, index: int, line: tuple[bytes, int], price: int, spot: bool) -> None:
        """A spot or a settlement; the hostile source may change its mind, the honest one settles once."""
        told = self.duel.model.sources[self.duel.sources[index].address].settlements
        if spot:
            self.duel.spot(index, line[0], price)
            self.duel.tally["report", "spot"] += 1
        elif line[1] <= self.duel.chain.now and (index or line not in told):
            self.duel.settlement(index, *line, price)
            self.duel.tally["report", "settlement"] += 1

    # ── money out ──

    @rule(index=seats, who=people, hasty=hasty, stale=recency, until=st.sampled_from((None, FIRST, SECOND)))
    def settle(self, index: int, who: int | None, hasty: bool, stale: int, until: int | None) -> None:
        """Settle, at once or when it may be done."""
        seat = self._seat(index)
        if not hasty:
            self._to_settling(seat, stale)
            self.duel.advance(until or self.duel.chain.now)
        self._spend("settle", seat, who)

    @rule(index=seats, who=people, returns=st.booleans(), stale=recency)
    def pay(self, index: int, who: int | None, returns: bool, stale: int) -> None:
        """Pay what is due, for instance because a deposit that a reorg took away has returned."""
        seat = self._seat(index)
        state = seat.account.registered
        if returns and state and not seat.account.closed:
            for party, missing in enumerate((state.deposit0, state.deposit1)):
                if (gap := missing - seat.account.deposits[party]) > 0:
                    self._deposit("pay", seat, party, gap, STRANGER)
        self._spend("pay", seat, who)

    @rule(index=seats, who=people, hasty=hasty, offset=st.integers(-1, 1), stale=recency)
    def last_resort(self, index: int, who: int | None, hasty: bool, offset: int, stale: int) -> None:
        """Pay without the book, around the first second at which it may be done; everything else is over then."""
        seat = self._seat(index)
        if not hasty:
            self._to_settling(seat, stale)
            self.duel.advance(self.duel.model.last_resort_start(seat.account) + offset)
        self._spend("last_resort", seat, who, f"last_resort {'' if hasty else f'{offset:+}'}".strip())

    @rule(index=seats, function=st.sampled_from(("settle", "pay", "last_resort", "pin")), which=recency)
    def another_state(self, index: int, function: str, which: int) -> None:
        """Spend by a state that is not the registered one, or with a book that is not the state's."""
        seat = self._seat(index)
        state = seat.pacts[-1 - which].state if which < len(seat.pacts) else seat.nothing
        args: dict[str, tuple[object, ...]] = {"settle": (b"\1" * 100,), "pin": (b"\1" * 100, *LINES[0])}
        self.duel.act("another_state", function, seat, state, *args.get(function, ()))

    @rule(index=seats, function=st.sampled_from(("settle", "settle", "pin", "pay")), gas=st.integers(60, 900))
    def starve(self, index: int, function: str, gas: int) -> None:
        """Too little gas: nothing happens, or exactly what would have happened anyway."""
        seat = self._seat(index)
        if state := seat.account.registered:
            self._spend(function, seat, None, "starve", gas * 1_000, state)

    @rule(index=seats, party=parties, refused=st.sampled_from((True, True, False)))
    def blacklist(self, index: int, party: int, refused: bool) -> None:
        """The token refuses to pay somebody, or relents and the rest is claimed."""
        seat = self._seat(index)
        owner = seat.terms.owners[party]
        self.duel.refuse(owner, refused)
        if self.duel.sight.claimable[owner] or not refused:
            self.duel.act("claim", "claim", seat, self.duel.token.address, owner)

    # ── time ──

    @rule(
        index=seats,
        until=st.sampled_from(("deadline", "expiry", "grace", "grace twice", "valid until", "second")),
        offset=st.integers(-1, 1),
    )
    def advance(self, index: int, until: str, offset: int) -> None:
        """Jump to a second before, at, or after something that changes what is allowed; else let ten minutes pass."""
        seat, now = self._seat(index), self.duel.chain.now
        expiry = FIRST if now < FIRST + 2 * GRACE else SECOND
        targets: dict[str, int] = {
            "deadline": seat.account.deadline,
            "expiry": expiry,
            "grace": expiry + GRACE,
            "grace twice": expiry + 2 * GRACE,
            "valid until": max((pact.state.valid_until for pact in seat.pacts), default=0),
            "second": now + 2,
        }
        moment = targets[until] + offset
        self.duel.advance(moment if moment > now else now + 600)
        self.duel.tally["advance", f"{until} {offset:+}"] += moment > now

    # ── how ──

    def _deposit(self, name: str, seat: Seat, party: int, amount: int, payer: str) -> None:
        self.duel.fund(payer, amount)
        self.duel.act(name, "deposit", seat, party, amount, sender=payer)

    def _seat(self, index: int) -> Seat:
        """Return the seat, three times out of four a live one if there is any: tombstones have little to say."""
        self._turns += 1
        seat = self.duel.seats[index]
        live = [other for other in self.duel.seats if not other.account.closed]
        return live[0] if seat.account.closed and live and self._turns % 4 else seat

    def _who(self, seat: Seat, who: int | None) -> str:
        return STRANGER if who is None else (*seat.terms.signers, *seat.terms.owners)[who]

    def _dispute(self, seat: Seat, stale: int) -> None:
        """Have a dispute if there is none: with a state of some age, or with nothing."""
        if seat.account.phase(self.duel.chain.now) == OPEN:
            self._submit("challenge", seat, stale, 0, "dispute")
        if seat.account.phase(self.duel.chain.now) == OPEN and seat.account.registered is None:
            self.duel.act("dispute", "challenge_unsigned", seat, sender=seat.terms.signers[0])

    def _to_settling(self, seat: Seat, stale: int) -> None:
        self._dispute(seat, stale)
        self.duel.advance(max(self.duel.chain.now, seat.account.deadline))

    def _special(self, state: State, intent: int, ttl: int) -> State:
        book = bytes(32) if intent == CLOSE else state.book
        return replace(state, intent=intent, valid_until=self.duel.chain.now + ttl, book=book)

    def _at_validity(self, seat: Seat, offset: int | None) -> None:
        if offset is not None and seat.pacts[-1].state.valid_until + offset > self.duel.chain.now:
            self.duel.advance(seat.pacts[-1].state.valid_until + offset)

    def _held_back(self, seat: Seat) -> bool:
        """Who has signed a CLOSE or REOPEN signs nothing above it until it is mined or past its validity."""
        if seat.honest is None:
            return False
        latest = max(seat.signed_by(seat.honest), key=lambda state: state.version)
        return latest.valid_until >= self.duel.chain.now and latest.version > seat.account.version

    def _next(self, seat: Seat) -> int:
        return 1 + max(state.version for party in range(2) for state in seat.signed_by(party))

    def _fresh(self, seat: Seat) -> State:
        deposits = seat.account.deposits
        return replace(
            seat.nothing, deposit0=deposits[0], deposit1=deposits[1], balance0=deposits[0], balance1=deposits[1]
        )

    def _moved(self, seat: Seat, move: str, party: int, share: int, book: int) -> State:
        """What two honest nodes would compute from their latest agreed state."""
        registered, base = seat.account.registered, seat.latest()
        if registered is not None and registered.intent == REOPEN and (not base or base.version < registered.version):
            base = registered
        base = replace(base or self._fresh(seat), version=self._next(seat), intent=OPERATE, valid_until=0)
        deposits, balances = [base.deposit0, base.deposit1], [base.balance0, base.balance1]
        withdrawals = [base.withdrawal0, base.withdrawal1]
        amount = max(0, balances[party]) * share // 4
        if move == "pay":
            balances[party] -= amount
            balances[1 - party] += amount
        elif move == "withdraw":
            balances[party] -= amount
            withdrawals[party] += amount
        elif move == "trade":
            base = replace(base, book=SANE[book])
        else:
            wanted = seat.account.deposits[party] + (share * UNIT if move == "phantom" else 0)
            balances[party] += wanted - deposits[party]
            deposits[party] = wanted
        return replace(
            base,
            deposit0=deposits[0],
            deposit1=deposits[1],
            withdrawal0=withdrawals[0],
            withdrawal1=withdrawals[1],
            balance0=balances[0],
            balance1=balances[1],
        )

    def _pact(self, seat: Seat, state: State, by: str) -> None:
        if seat.honest is None or by == "both":
            seat.pacts.append(Pact(state, frozenset((0, 1))))
            seat.agreed = max(seat.agreed, state.version)
        else:
            who = seat.honest if by == "honest" else 1 - seat.honest
            seat.pacts.append(Pact(state, frozenset((who,))))

    def _submit(
        self, function: str, seat: Seat, which: int, who: int | None, name: str = "", intent: int | None = None
    ) -> None:
        """Submit the state that is `which`-th from the end; the adversary completes what the honest party let out."""
        pacts = [pact for pact in seat.pacts if intent is None or pact.state.intent == intent]
        if which >= len(pacts):
            return
        pact = pacts[-1 - which]
        state, by = pact.state, pact.by
        sigs = self.duel.sign(seat, state)
        if seat.honest is not None and seat.honest not in by:
            sigs = (sigs[1 - seat.honest],) * 2
        else:
            self._complete(seat, pact)
        self.duel.act(name or function, function, seat, state, *sigs, sender=self._who(seat, who))

    def _complete(self, seat: Seat, pact: Pact) -> None:
        """Let the adversary sign what the honest party has let out."""
        seat.pacts[seat.pacts.index(pact)] = Pact(pact.state, frozenset((0, 1)))

    def _spend(
        self,
        function: str,
        seat: Seat,
        who: int | None,
        name: str = "",
        gas: int | None = None,
        state: State | None = None,
    ) -> None:
        chosen = state or seat.account.registered or seat.nothing
        data, contents = book_of(chosen)
        lines = contents.lines if contents and contents.lines else LINES
        args = {"settle": (data,), "pin": (data, *lines[0])}.get(function, ())
        options = {} if gas is None else {"gas": gas}
        self.duel.act(name or function, function, seat, chosen, *args, sender=self._who(seat, who), **options)

    def _last_stand(self, seat: Seat) -> None:
        """On forks: the adversary challenges with each state it has; the honest party answers once and is paid."""
        assert seat.honest is not None
        adversary = seat.terms.owners[1 - seat.honest]
        mine = [pact for pact in seat.pacts if seat.honest in pact.by and pact.state.intent == OPERATE][-3:]
        if seat.account.phase(self.duel.chain.now) not in (OPEN, DISPUTED):
            return
        for pact in mine:
            with self.duel.fork():
                here, state = self.duel.seats[seat.index], pact.state
                self._complete(here, pact)
                self.duel.act("last stand", "challenge", here, state, *self.duel.sign(here, state), sender=adversary)
                if here.account.deadline:
                    self.duel.advance(max(here.account.deadline, SECOND + 2 * GRACE))
                    self.duel.settle_as(here, here.terms.owners[seat.honest])


assert LAST_RESORT > SECOND + 4 * GRACE + CHALLENGE, "the honest parties must be able to settle first"
