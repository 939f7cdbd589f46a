"""The state machine: honest parties, adversaries and strangers do whatever comes to mind to one adjudicator.

Every rule is a deed of the `Duel`, which does it to contract and model and checks all laws. What was done, and what
came of it, is tallied, so that a campaign can prove that each rule fired, with each of its outcomes.
"""

from collections import Counter
from dataclasses import replace
from typing import ClassVar

from hypothesis import HealthCheck, Phase, seed, settings, strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from channels.risk import MarginPolicy
from tests.contracts.choices import (
    amounts,
    engines,
    hasty,
    moments,
    parties,
    payers,
    people,
    permits,
    prices,
    recency,
    seats,
)
from tests.contracts.duel import GRACE, HOUR, ROGUE, SYBIL, UNIT, Duel
from tests.contracts.encoding import CLOSE, CLOSED, DISPUTED, OPERATE, REOPEN, high_s
from tests.contracts.evm import STRANGER
from tests.contracts.laboratory import ABSURD, BURNING, HONEST, REVERTING
from tests.contracts.margin_machine import MarginRules
from tests.contracts.margin_play import MarginPlay
from tests.contracts.margins import SMALL_POLICY
from tests.contracts.model import LIMIT
from tests.contracts.shelf import FIRST, LINES, MAD, SANE, SECOND, book_of


class Machine(MarginRules):
    """Deeds at random. `bytecode` is what is deployed, None for the shipped adjudicator."""

    bytecode: ClassVar[bytes | None] = None
    wording: ClassVar[bool] = True
    policy: ClassVar[MarginPolicy] = SMALL_POLICY
    tally: ClassVar[Counter[tuple[str, str]]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.duel = Duel(self.bytecode)
        self.play = MarginPlay(self.duel)

    @initialize(
        returnless=st.booleans(),
        honest=parties,
        book=st.integers(1, len(SANE) - 1),
        engines=engines,
        when=st.none() | moments,
    )
    def begin(self, returnless: bool, honest: int, book: int, engines: tuple[int, int, int], when: int | None) -> None:
        """Choose the token's habits, who is honest where, and the engines; every channel gets money and a trade."""
        self.duel = Duel(self.bytecode, returnless, honest, engines, self.policy)
        self.duel.wording = self.wording
        self.play = MarginPlay(self.duel)
        for seat in self.duel.seats:
            for party in range(2):
                self.play.deposit("begin", seat, party, 500 * UNIT, seat.terms.owners[party])
            for move in ("acknowledge", "trade"):
                self.play.pact(seat, self.play.moved(seat, move, 0, 0, book), "both")
        self.duel.advance(when or self.duel.chain.now)

    def teardown(self) -> None:
        """Let whoever is left leave: each honest party against each state that could still be used against it."""
        if self.duel.lawful:
            for seat in self.duel.seats:
                if seat.honest is not None:
                    self.play.last_stand(seat)
        type(self).tally.update(self.duel.tally)

    # ── money in ──

    @rule(index=seats, party=parties, amount=amounts, who=people)
    def deposit(self, index: int, party: int, amount: int, who: int | None) -> None:
        seat = self.play.seat(index)
        self.play.deposit("deposit" if who is not None else "gift", seat, party, amount, self.play.who(seat, who))

    @rule(index=seats, how=st.sampled_from(((2, UNIT), (0, 0), (1, LIMIT - 1), (1, 10**15))), donation=amounts)
    def bad_deposit(self, index: int, how: tuple[int, int], donation: int) -> None:
        """Deposits that must be refused, and tokens that nobody accounts for."""
        self.duel.donate(donation)
        self.duel.act("bad_deposit", "deposit", self.duel.seats[index], *how)

    @rule(index=seats, party=parties, payer=payers, amount=amounts, how=permits)
    def deposit_with_permit(self, index: int, party: int, payer: int, amount: int, how: str) -> None:
        """A deposit by signature; a permit that fails leaves it to the allowance, whoever made it fail."""
        self.play.permitted(self.play.seat(index), party, payer, amount, how)

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
        seat = self.play.seat(index)
        if self.play.held_back(seat, operate=True) and by != "adversary":
            self.duel.tally["sign", "held back"] += 1
            return
        state = self.play.moved(seat, move, party, share, book)
        self.play.pact(seat, state, by)
        self.duel.tally["sign", move] += 1

    @rule(
        withdrawals=st.tuples(st.integers(0, 3), st.integers(0, 3)),
        balance=st.integers(-2, 3),
        ahead=st.sampled_from((0, 0, 0, UNIT)),
        book=st.sampled_from((SANE[0],) * len(SANE) + SANE + MAD[:1] * 2),
        who=people,
    )
    def drain(self, withdrawals: tuple[int, int], balance: int, ahead: int, book: bytes, who: int | None) -> None:
        """Two keys in one hand give themselves everything, and more, in a state without a flaw."""
        seat = self.duel.seats[SYBIL]
        self.play.pact(seat, self.play.greedy(seat, withdrawals, balance, ahead, book), "both")
        self.play.submit("challenge" if seat.account.deadline else "checkpoint", seat, 0, who, "drain")

    @rule(
        version=st.integers(-1, 3),
        intent=st.sampled_from((OPERATE, OPERATE, OPERATE, REOPEN, CLOSE, CLOSE, 3)),
        until=st.sampled_from((None, None, None, -1, 1, HOUR, HOUR)),
        book=st.sampled_from((*SANE, *MAD, *MAD)),
        fault=st.sampled_from((None, None, 1, LIMIT)),
        then=st.sampled_from(("checkpoint", "checkpoint", "checkpoint", "challenge", "close")),
    )
    def sign_anything(
        self, version: int, intent: int, until: int | None, book: bytes, fault: int | None, then: str
    ) -> None:
        """Whatever two keys in one hand can sign."""
        seat, now = self.duel.seats[SYBIL], self.duel.chain.now
        state = self.play.greedy(seat, (0, 0), 1, 0, bytes(32) if intent == CLOSE and until is None else book)
        ttl = (0 if intent == OPERATE else HOUR) if until is None else until
        state = replace(
            state,
            version=max(0, seat.account.version + version),
            intent=intent,
            valid_until=now + ttl if ttl else 0,
            balance1=state.balance1 + (fault or 0),
        )
        self.play.pact(seat, state, "both")
        if then:
            self.play.submit(then, seat, 0, 0, f"anything {then}")

    # ── states ──

    @rule(index=seats, which=recency, who=people)
    def checkpoint(self, index: int, which: int, who: int | None) -> None:
        self.play.submit("checkpoint", self.play.seat(index), which, who)

    @rule(index=seats, which=recency, who=people)
    def challenge(self, index: int, which: int, who: int | None) -> None:
        self.play.submit("challenge", self.play.seat(index), which, who)

    @rule(index=seats, stale=recency, which=recency, who=people, offset=st.integers(-1, 1))
    def answer(self, index: int, stale: int, which: int, who: int | None, offset: int) -> None:
        """A dispute, and an answer a second before, at or after the deadline."""
        seat = self.play.seat(index)
        self.play.dispute(seat, stale)
        if seat.account.phase(self.duel.chain.now) == DISPUTED:
            self.duel.advance(seat.account.deadline + offset)
        self.play.submit("challenge", seat, which, who, f"answer {offset:+}")

    @rule(index=seats, who=people)
    def rechallenge(self, index: int, who: int | None) -> None:
        """Start a dispute with exactly what is registered, unsigned."""
        seat = self.play.seat(index)
        if state := seat.account.registered:
            self.duel.act("rechallenge", "challenge", seat, state, b"", b"", sender=self.play.who(seat, who))

    @rule(index=seats, who=people)
    def challenge_unsigned(self, index: int, who: int | None) -> None:
        seat = self.play.seat(index)
        self.duel.act("challenge_unsigned", "challenge_unsigned", seat, sender=self.play.who(seat, who))

    @rule(
        index=seats,
        party=parties,
        share=st.integers(0, 4),
        ttl=st.sampled_from((0, 600, 2 * HOUR)),
        offset=st.sampled_from((None, None, None, -1, 0, 1)),
        who=people,
        how=st.sampled_from(("close", "close", "close", "checkpoint", "operate")),
    )
    def close(
        self, index: int, party: int, share: int, ttl: int, offset: int | None, who: int | None, how: str
    ) -> None:
        """Agree to close and close, now or around the end of its validity; or register the agreement; or have none."""
        seat = self.play.seat(index)
        if how == "operate":
            if not self.play.held_back(seat, operate=True):
                self.play.pact(seat, self.play.moved(seat, "pay", party, share, 0), "both")
            self.play.submit("close", seat, 0, who, "close without")
            return
        if not self.play.held_back(seat):
            state = self.play.moved(seat, "pay", party, share, 0)
            self.play.pact(seat, self.play.special(state, CLOSE, ttl), "both")
        self.play.at_validity(seat, offset)
        self.play.submit(how, seat, 0, who, "close", CLOSE)

    @rule(
        index=seats,
        stale=recency,
        ttl=st.sampled_from((0, 600, 2 * HOUR)),
        offset=st.sampled_from((None, None, None, -1, 0, 1)),
        who=people,
        forget=st.booleans(),
    )
    def reopen(self, index: int, stale: int, ttl: int, offset: int | None, who: int | None, forget: bool) -> None:
        """A dispute, and an agreement to end it, shown now or around the end of its validity."""
        seat, now = self.play.seat(index), self.duel.chain.now
        self.play.dispute(seat, stale)
        registered, account = seat.account.registered, seat.account
        if registered is None or not account.deadline or self.play.held_back(seat) or account.phase(now) == CLOSED:
            return
        state = replace(registered if registered.version else self.play.fresh(seat), version=self.play.next(seat))
        if forget and seat.honest is None:
            back = (state.balance0 + state.withdrawal0, state.balance1 + state.withdrawal1)
            state = replace(state, withdrawal0=0, withdrawal1=0, balance0=back[0], balance1=back[1])
        self.play.pact(seat, self.play.special(state, REOPEN, ttl), "both")
        self.play.at_validity(seat, offset)
        self.play.submit("checkpoint", seat, 0, who, "reopen", REOPEN)

    @rule(
        index=seats,
        function=st.sampled_from(("checkpoint", "challenge", "close")),
        how=st.sampled_from(("high s", "short", "v", "swapped", "one-sided", "garbage", "elsewhere")),
    )
    def forge(self, index: int, function: str, how: str) -> None:
        """A fresh state, with signatures that must not pass; and one with both, which gives more than there is."""
        seat = self.play.seat(index)
        state = self.play.moved(seat, "pay", 0, 1, 0)
        first, second = self.duel.sign(seat, state)
        other = self.duel.seats[seat.index - 1]
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
        more = replace(state, balance1=state.balance1 + 1)
        self.duel.act("forge money", function, seat, more, *self.duel.sign(seat, more), sender=seat.terms.signers[0])

    # ── prices ──

    @rule(
        index=seats,
        line=st.integers(0, 4),
        who=people,
        wrong=st.sampled_from((False, False, False, True)),
        since=st.sampled_from((None, None, -1, 0, GRACE - 1, GRACE, 2 * GRACE - 1, 2 * GRACE, 3 * GRACE)),
        registered=st.booleans(),
        again=st.none() | prices,
    )
    def pin(
        self,
        index: int,
        line: int,
        who: int | None,
        wrong: bool,
        since: int | None,
        registered: bool,
        again: int | None,
    ) -> None:
        """Pin a line of the registered book, or one that it does not have; or twice, with a late report between."""
        seat = self.play.seat(index)
        if registered:
            self.play.dispute(seat, 0)
        state = seat.account.registered or seat.nothing
        contents = book_of(state)[1]
        lines = contents.lines if contents and contents.lines and not wrong else LINES
        underlying, expiry = lines[line % len(lines)]
        if since is not None and expiry + since > self.duel.chain.now:
            self.duel.advance(expiry + since)
            state = seat.account.registered or seat.nothing
        data, sender = book_of(state)[0], self.play.who(seat, who)
        if self.duel.act("pin", "pin", seat, state, data, underlying, expiry, sender=sender) == "ok" and again:
            self.play.settlement(seat.index == ROGUE, (underlying, expiry), again)
            self.duel.act("pin", "pin", seat, state, data, underlying, expiry, sender=STRANGER)

    @rule(index=st.integers(0, 1), mode=st.sampled_from((HONEST, HONEST, REVERTING, BURNING, ABSURD)))
    def mood(self, index: int, mode: int) -> None:
        self.duel.mood(index, mode)
        self.duel.tally["mood", str(mode)] += 1

    @rule(index=st.integers(0, 1), line=st.sampled_from(LINES), price=prices | st.just(2**96 + 1), spot=st.booleans())
    def report(self, index: int, line: tuple[bytes, int], price: int, spot: bool) -> None:
        """A spot or a settlement; the hostile source may change its mind, the honest one settles once."""
        if spot:
            self.duel.spot(index, line[0], price)
            self.duel.tally["report", "spot"] += 1
        elif index or line[1] <= self.duel.chain.now:
            self.play.settlement(index, line, price)

    # ── money out ──

    @rule(index=seats, who=people, hasty=hasty, stale=recency, until=st.sampled_from((None, FIRST, SECOND)))
    def settle(self, index: int, who: int | None, hasty: bool, stale: int, until: int | None) -> None:
        """Settle, at once or when it may be done."""
        seat = self.play.seat(index)
        if not hasty:
            self.play.to_settling(seat, stale)
            self.duel.advance(until or self.duel.chain.now)
        self.play.spend("settle", seat, who)

    @rule(party=parties, stale=recency, price=prices)
    def settle_early(self, party: int, stale: int, price: int) -> None:
        """A hostile source has prices before their time: a live leg does not settle by them."""
        seat = self.duel.seats[ROGUE]
        if not self.play.held_back(seat, operate=True):
            self.play.pact(seat, self.play.moved(seat, "trade", party, 1, 1), "both")
        self.play.to_settling(seat, stale)
        for line in LINES:
            self.play.settlement(1, line, price)
        self.play.spend("settle", seat, None, "settle_early")

    @rule(book=st.sampled_from(MAD), price=prices)
    def settle_madness(self, book: bytes, price: int) -> None:
        """Try to settle an option of no known kind, bytes that are no book, and a book that is lost."""
        seat = self.duel.seats[SYBIL]
        self.play.pact(seat, self.play.greedy(seat, (0, 0), 1, 0, book), "both")
        self.play.to_settling(seat, 0)
        self.duel.advance(FIRST)
        self.play.settlement(0, LINES[0], price)
        self.play.spend("settle", seat, None, "settle_madness")

    @rule(index=seats, party=parties, who=people, returns=st.sampled_from((True, True, False)))
    def pay(self, index: int, party: int, who: int | None, returns: bool) -> None:
        """A reorg takes a deposit away that a withdrawal counted on; once it has returned, the withdrawal is paid."""
        seat = self.play.seat(index)
        if returns and not seat.account.closed and not self.play.held_back(seat, operate=True):
            for move in ("phantom", "withdraw"):
                self.play.pact(seat, self.play.moved(seat, move, party, 2, 0), "both")
            function = "challenge" if seat.account.deadline else "checkpoint"
            self.play.submit(function, seat, 0, party, "blocked")
            state = seat.account.registered or seat.nothing
            gap = (state.deposit0, state.deposit1)[party] - seat.account.deposits[party]
            if gap > 0:
                self.play.deposit("returned", seat, party, gap, STRANGER)
        self.play.spend("pay", seat, who)

    @rule(index=seats, who=people, hasty=hasty, offset=st.integers(-1, 1), stale=recency)
    def last_resort(self, index: int, who: int | None, hasty: bool, offset: int, stale: int) -> None:
        """Pay without the book, around the first second at which it may be done; everything else is over then."""
        seat = self.play.seat(index)
        if not hasty:
            self.play.to_settling(seat, stale)
            self.duel.advance(self.duel.model.last_resort_start(seat.account) + offset)
        self.play.spend("last_resort", seat, who, f"last_resort {'' if hasty else f'{offset:+}'}".strip())

    @rule(index=seats, function=st.sampled_from(("settle", "pay", "last_resort", "pin")), which=recency)
    def another_state(self, index: int, function: str, which: int) -> None:
        """Spend by a state that is not the registered one, or with a book that is not the state's."""
        seat = self.play.seat(index)
        state = seat.pacts[-1 - which].state if which < len(seat.pacts) else seat.nothing
        args: dict[str, tuple[object, ...]] = {"settle": (b"\1" * 100,), "pin": (b"\1" * 100, *LINES[0])}
        self.duel.act("another_state", function, seat, state, *args.get(function, ()))

    @rule(index=seats, function=st.sampled_from(("settle", "settle", "pin", "pay")), gas=st.integers(60, 900))
    def starve(self, index: int, function: str, gas: int) -> None:
        """Too little gas: nothing happens, or exactly what would have happened anyway."""
        seat = self.play.seat(index)
        if state := seat.account.registered:
            self.play.spend(function, seat, None, "starve", gas * 1_000, state)

    @rule(index=seats, party=parties, refused=st.sampled_from((True, True, False)))
    def blacklist(self, index: int, party: int, refused: bool) -> None:
        """The token refuses to pay somebody, or relents and the rest is claimed."""
        seat = self.play.seat(index)
        left = [who for who, amount in self.duel.sight.claimable.items() if amount]
        owner = left[0] if left and not refused else seat.terms.owners[party]
        self.duel.refuse(owner, refused)
        if left or not refused:
            self.duel.act("claim", "claim", seat, self.duel.token.address, owner)

    # ── time ──

    @rule(
        index=seats,
        until=st.sampled_from(("deadline", "expiry", "expiry", "grace", "grace", "grace twice", "second")),
        offset=st.integers(-1, 1),
    )
    def advance(self, index: int, until: str, offset: int) -> None:
        """Jump to a second before, at, or after something that changes what is allowed, or else ten minutes ahead."""
        seat = self.play.seat(index)
        if until == "deadline":
            self.play.dispute(seat, 0)
        now = self.duel.chain.now
        expiry = FIRST if now < FIRST + 2 * GRACE else SECOND
        targets: dict[str, int] = {
            "deadline": seat.account.deadline,
            "expiry": expiry,
            "grace": expiry + GRACE,
            "grace twice": expiry + 2 * GRACE,
            "second": now + 2,
        }
        chosen = until if targets[until] + offset > now else "grace twice"
        moment = targets[chosen] + offset
        self.duel.advance(moment if moment > now else now + 600)
        self.duel.tally["advance", f"{chosen} {offset:+}"] += moment > now


def campaign(
    examples: int,
    steps: int,
    number: int,
    bytecode: bytes | None = None,
    shrink: bool = False,
    wording: bool = True,
    policy: MarginPolicy = SMALL_POLICY,
) -> Counter[tuple[str, str]]:
    """Run the machine against `bytecode` (None: the shipped adjudicator) and return the tally; replayable by `number`.

    Raises the first LawBroken, with the steps that led to it. Without `wording` it is enough that contract and model
    both refuse, so that a planted bug is judged by what it does and not by what it says.
    """
    ran = type("Machine", (Machine,), {"bytecode": bytecode, "wording": wording, "policy": policy, "tally": Counter()})
    run_state_machine_as_test(
        seed(number)(ran),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return ran.tally
