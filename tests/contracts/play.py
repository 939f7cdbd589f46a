"""How the deeds of the machine are prepared: who acts, what the parties sign next, how a dispute is reached."""

from dataclasses import replace

from tests.contracts.duel import CHALLENGE, FAIR, GRACE, LAST_RESORT, SYBIL, UNIT, Duel, Pact, Seat
from tests.contracts.encoding import CLOSE, CLOSED, DISPUTED, OPEN, OPERATE, REOPEN, SETTLING, State
from tests.contracts.evm import STRANGER
from tests.contracts.shelf import LINES, SANE, SECOND, book_of
from tests.contracts.verdicts import law


class Play:
    """The moves of honest nodes and of adversaries, one seat at a time."""

    def __init__(self, duel: Duel) -> None:
        self.duel = duel
        self.turns = 0

    def deposit(self, name: str, seat: Seat, party: int, amount: int, payer: str) -> None:
        self.duel.fund(payer, amount)
        self.duel.act(name, "deposit", seat, party, amount, sender=payer)

    def permitted(self, seat: Seat, party: int, payer: int, amount: int, how: str) -> None:
        """Deposit with a permit: a valid one, one that a stranger presented first, or one that fails.

        A failing one is for another amount, or late, or presented by another than its owner, or was used before.
        """
        keys = (*self.duel.seats[FAIR].keys, *self.duel.seats[SYBIL].keys)
        key, other, now = keys[payer], keys[payer - 1], self.duel.chain.now
        late = {"expired": -1, "last second": 0}.get(how, CHALLENGE)
        signed = self.duel.permit(key.address, amount + (how in ("allowed", "refused", "short")), now + late)
        signature = signed.sign(key)
        sender = other.address if how == "stolen" else key.address
        self.duel.fund(sender, 2 * amount, {"allowed": amount, "short": amount - 1}.get(how, 0))
        if how == "front-run":
            self.duel.present(signed, *signature)
        for _ in range(1 + (how == "again")):
            name, given = f"deposit_with_permit {how}", (party, amount, signed.deadline, *signature)
            self.duel.act(name, "deposit_with_permit", seat, *given, sender=sender)

    def seat(self, index: int) -> Seat:
        """Return the seat, three times out of four a live one if there is any: tombstones have little to say."""
        self.turns += 1
        seat = self.duel.seats[index]
        live = [other for other in self.duel.seats if not other.account.closed]
        return live[0] if seat.account.closed and live and self.turns % 4 else seat

    def settlement(self, index: int, line: tuple[bytes, int], price: int) -> None:
        """Report a settlement: the hostile source may change its mind, the honest one writes once."""
        if index or line not in self.duel.model.sources[self.duel.sources[0].address].settlements:
            self.duel.settlement(index, *line, price)
            self.duel.tally["report", "settlement"] += 1

    def who(self, seat: Seat, who: int | None) -> str:
        return STRANGER if who is None else (*seat.terms.signers, *seat.terms.owners)[who]

    def dispute(self, seat: Seat, stale: int) -> None:
        """Have a dispute if there is none: with a state of some age, or with nothing."""
        if seat.account.phase(self.duel.chain.now) == OPEN:
            self.submit("challenge", seat, stale, 0, "dispute")
        if seat.account.phase(self.duel.chain.now) == OPEN and seat.account.registered is None:
            self.duel.act("dispute", "challenge_unsigned", seat, sender=seat.terms.signers[0])

    def to_settling(self, seat: Seat, stale: int) -> None:
        self.dispute(seat, stale)
        self.duel.advance(max(self.duel.chain.now, seat.account.deadline))

    def special(self, state: State, intent: int, ttl: int) -> State:
        book = bytes(32) if intent == CLOSE else state.book
        return replace(state, intent=intent, valid_until=self.duel.chain.now + ttl, book=book)

    def at_validity(self, seat: Seat, offset: int | None) -> None:
        """Wait until around the last second at which the newest state counts."""
        if offset is not None and seat.pacts[-1].state.valid_until + offset > self.duel.chain.now:
            self.duel.advance(seat.pacts[-1].state.valid_until + offset)
            self.duel.tally["advance", f"valid until {offset:+}"] += 1

    def held_back(self, seat: Seat, operate: bool = False) -> bool:
        """Who has signed a CLOSE or REOPEN signs nothing above it until it is mined or past its validity.

        And after a dispute's deadline nobody honest signs a state to `operate` on: it could not be registered any more.
        """
        if seat.honest is None:
            return False
        if operate and seat.account.phase(self.duel.chain.now) == SETTLING:
            return True
        latest = max(seat.signed_by(seat.honest), key=lambda state: state.version)
        return latest.valid_until >= self.duel.chain.now and latest.version > seat.account.version

    def next(self, seat: Seat) -> int:
        return 1 + max(state.version for party in range(2) for state in seat.signed_by(party))

    def fresh(self, seat: Seat) -> State:
        deposits = seat.account.deposits
        return replace(
            seat.nothing, deposit0=deposits[0], deposit1=deposits[1], balance0=deposits[0], balance1=deposits[1]
        )

    def moved(self, seat: Seat, move: str, party: int, share: int, book: int) -> State:
        """What two honest nodes would compute from their latest agreed state."""
        registered, base = seat.account.registered, seat.latest()
        if registered is not None and registered.intent == REOPEN and (not base or base.version < registered.version):
            base = registered
        base = replace(base or self.fresh(seat), version=self.next(seat), intent=OPERATE, valid_until=0)
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

    def greedy(self, seat: Seat, withdrawals: tuple[int, int], balance: int, ahead: int, book: bytes) -> State:
        """Return a flawless state that gives in halves of all deposits, whatever was promised before."""
        deposits = seat.account.deposits
        half = max(sum(deposits), 1) // 2
        taken = (withdrawals[0] * half, withdrawals[1] * half)
        return State(
            channel=seat.account.id,
            version=seat.account.version + 1,
            deposit0=deposits[0] + ahead,
            deposit1=deposits[1],
            withdrawal0=taken[0],
            withdrawal1=taken[1],
            balance0=balance * half,
            balance1=sum(deposits) + ahead - sum(taken) - balance * half,
            book=book,
        )

    def pact(self, seat: Seat, state: State, by: str) -> None:
        if seat.honest is None or by == "both":
            seat.pacts.append(Pact(state, frozenset((0, 1))))
            seat.agree(state.version, self.duel.chain.now)
        else:
            who = seat.honest if by == "honest" else 1 - seat.honest
            seat.pacts.append(Pact(state, frozenset((who,))))

    def submit(
        self, function: str, seat: Seat, which: int, who: int | None, name: str = "", intent: int | None = None
    ) -> None:
        """Submit the state that is `which`-th from the end; the adversary completes what the honest party let out."""
        pacts = [pact for pact in seat.pacts if intent is None or pact.state.intent == intent]
        if which >= len(pacts):
            return
        pact = pacts[-1 - which]
        self.duel.act(
            name or function, function, seat, pact.state, *self.signatures(seat, pact), sender=self.who(seat, who)
        )

    def signatures(self, seat: Seat, pact: Pact) -> tuple[bytes, bytes]:
        """Return what the adversary has to show: both signatures, unless the honest party never gave its own."""
        sigs = self.duel.sign(seat, pact.state)
        if seat.honest is not None and seat.honest not in pact.by:
            return (sigs[1 - seat.honest],) * 2
        self.complete(seat, pact)
        return sigs

    def complete(self, seat: Seat, pact: Pact) -> None:
        """Let the adversary sign what the honest party has let out."""
        seat.pacts[seat.pacts.index(pact)] = Pact(pact.state, frozenset((0, 1)))

    def spend(
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
        self.duel.act(name or function, function, seat, chosen, *args, sender=self.who(seat, who), **options)

    def last_stand(self, seat: Seat) -> None:
        """On forks: the adversary challenges with each state it has, if it still can, and lays siege on the newest.

        The honest party answers once within each window, is paid, and leaves nothing open.
        """
        assert seat.honest is not None
        adversary = seat.terms.owners[1 - seat.honest]
        phase = seat.account.phase(self.duel.chain.now)
        if phase == CLOSED:
            return
        mine = [pact for pact in seat.pacts if seat.honest in pact.by and pact.state.intent == OPERATE][-3:]
        shown: list[Pact | None] = [*mine] if phase in (OPEN, DISPUTED) else [None]
        for pact in shown:
            with self.duel.fork():
                here = self.duel.seats[seat.index]
                if pact is not None:
                    self.complete(here, pact)
                    sigs = self.duel.sign(here, pact.state)
                    self.duel.act("last stand", "challenge", here, pact.state, *sigs, sender=adversary)
                if pact is shown[-1]:
                    self.besiege(here)
                if not here.account.deadline:
                    continue
                self.duel.advance(max(here.account.deadline, SECOND + 2 * GRACE))
                if not here.account.closed:
                    self.duel.settle_as(here, here.terms.owners[seat.honest])
                law("invariant 4", here.account.closed, f"party {seat.honest} did all it could and is not out")

    def besiege(self, seat: Seat) -> None:
        """What an adversary can do to an honest party that is about to leave, beside old states: nothing here."""


assert LAST_RESORT > SECOND + 4 * GRACE + CHALLENGE, "the honest parties must be able to settle first"
