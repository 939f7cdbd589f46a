"""The duel: the deployed adjudicator and the model beside it, three channels that share contract and token.

Whatever is done is done to both, and after each deed the laws are checked. The three seats:

FAIR     one honest party, who answers once within each window, against an adversary; an honest price source
SYBIL    both keys in one adversary's hands, and both payouts to one purse: every state that can be signed is signed
ROGUE    one honest party, the source in the adversary's hands; the same two parties as FAIR, in a channel of its own

Each channel has the risk engine that ships, or one in the adversary's hands, or none. The purses, the token's refusals,
the source's moods and the clock are shared, so that one seat can hurt another if the contract lets it.
"""

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from adjudicator_contracts import artifact
from channels import model as library
from channels.risk import MarginPolicy
from tests.contracts import laws
from tests.contracts.encoding import NOWHERE, OPEN, SETTLING, Key, State, Terms, book_hash
from tests.contracts.evm import CHAIN_ID, START, STRANGER, Event, Reverted, account as address
from tests.contracts.laboratory import (
    GAS,
    HONEST,
    RETURNLESS_TOKEN,
    SOURCE,
    TOKEN,
    Laboratory,
    adjudicator,
    compiled,
    words,
)
from tests.contracts.margin_model import MarginAdjudicator
from tests.contracts.margins import FICKLE, NONE, SHIPPED, SMALL_POLICY, Engine, Fickle, Notice, Shipped
from tests.contracts.model import Account, Money, Refused, Said, Source
from tests.contracts.permits import Permit
from tests.contracts.shelf import DAY, LINES, book_of, read
from tests.contracts.verdicts import LawBroken
from tests.contracts.world import Status

HOUR, UNIT = 3_600, 10**6
CHALLENGE, CURE, GRACE, SPOT_MAX_AGE = HOUR, 601, 2 * HOUR, 300
LAST_RESORT = START + 10 * DAY
FAIR, SYBIL, ROGUE = range(3)
SILENCE = (None, "engine: hostile", "", "")
"""What the fickle engine reverts with in each of its modes, None where it answers."""
STARVED = ("", "prices: too little gas", "token: too little gas")
"""What a call may say that was given too little gas; anything else must be the truth."""


@dataclass(frozen=True, slots=True)
class Pact:
    """A state and who truly signed it. What both, or an absent honest party's adversary, signed can be enforced."""

    state: State
    by: frozenset[int]


@dataclass(slots=True)
class Seat:
    """One channel: its account in the model, its keys, its honest party if it has one, and all that was ever signed."""

    index: int
    account: Account
    keys: tuple[Key, Key]
    honest: int | None
    pacts: list[Pact] = field(default_factory=list)
    agreed: int = 0
    """The highest version that the honest party knows both signed."""
    agreed_at: int = 0
    agreed_before: int = 0
    """When something was last agreed, and what `agreed` was before that second."""
    received: int = 0
    spent: int = 0
    engine: int = NONE
    notices: tuple[tuple[Notice, ...], tuple[Notice, ...]] = ((), ())
    """Per party the calls that nothing has ended, for invariant 6."""

    @property
    def terms(self) -> Terms:
        return self.account.terms

    @property
    def nothing(self) -> State:
        """What `challenge_unsigned` registers."""
        return State(self.account.id)

    def signed_by(self, party: int) -> list[State]:
        """Return every state that carries this party's signature, and the one that needs none."""
        return [self.nothing, *(pact.state for pact in self.pacts if party in pact.by)]

    def agree(self, version: int, now: int) -> None:
        """Let the honest party know that both signed a version."""
        if now > self.agreed_at:
            self.agreed_at, self.agreed_before = now, self.agreed
        self.agreed = max(self.agreed, version)

    def latest(self, known: int | None = None) -> State | None:
        """Return the newest state, up to `known`, that the honest party knows to be agreed and that can answer."""
        agreed = self.agreed if known is None else known
        return max(
            (p.state for p in self.pacts if p.state.version <= agreed and p.state.intent == 0 and len(p.by) == 2),
            key=lambda state: state.version,
            default=None,
        )


@dataclass(frozen=True, slots=True)
class Sight:
    """What anyone can see on the chain at one moment."""

    now: int
    statuses: tuple[Status, ...]
    held: int
    wallets: dict[str, int]
    claimable: dict[str, int]
    entitled: tuple[tuple[int, int] | None, ...]
    """By the registered state; None while it cannot be settled."""
    prices: dict[tuple[int, bytes, int], int]


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done, by whom, and what came of it."""

    function: str
    seat: int
    sender: str
    stranger: bool
    state: State | None
    refused: str | None
    events: tuple[Event, ...]
    args: tuple[Any, ...] = ()

    @property
    def party(self) -> int:
        """Whom a margin deed is about."""
        party: int = self.args[4 if self.function == "margin_call" else 2]
        return party

    def said(self, name: str) -> Any:
        """Return the arguments of the event called `name`, None if there was none."""
        return next((event.args for event in self.events if event.name == name), None)


class Duel:
    """One adjudicator, one model, three seats, and a tally of what happened."""

    wording = True
    """Whether contract and model must refuse in the same words, or only both."""

    def __init__(
        self,
        bytecode: bytes | None = None,
        returnless: bool = False,
        honest: int = 0,
        engines: tuple[int, int, int] = (SHIPPED, FICKLE, SHIPPED),
        policy: MarginPolicy = SMALL_POLICY,
    ) -> None:
        self.chain = Laboratory()
        self.contract = self.chain.put("Adjudicator", bytecode or adjudicator())
        self.token = self.chain.put("TestToken", compiled(RETURNLESS_TOKEN if returnless else TOKEN))
        self.sources = [self.chain.put("MockSource", compiled(SOURCE)) for _ in range(2)]
        self.policy = policy
        self.engines = [
            self.chain.put("RiskEngine", artifact("RiskEngine").bytecode + policy.encode()),
            self.chain.put("FickleEngine", artifact("FickleEngine").bytecode),
        ]
        here = self.contract.address
        self.model = MarginAdjudicator(here, lambda state: state.digest(CHAIN_ID, here), book_hash, read)
        self.model.now = self.chain.now
        self.model.money[self.token.address] = Money()
        self.model.sources = {source.address: Source() for source in self.sources}
        answers: tuple[Engine, Engine] = (Shipped(policy), Fickle())
        self.model.engines = {engine.address: answer for engine, answer in zip(self.engines, answers, strict=True)}
        self.deployment = library.Deployment(CHAIN_ID, library.Address(here))
        self.seats = [self._seat(index, (honest, None, 1 - honest)[index], engines[index]) for index in range(3)]
        people = [who for seat in self.seats for who in (*seat.terms.signers, *seat.terms.owners)]
        self.people = list(dict.fromkeys([*people, STRANGER]))
        self.lawful = True
        self.tally: Counter[tuple[str, str]] = Counter()
        for seat in self.seats:
            laws.channel_ids_agree(self, seat)
        self.sight = self.look()

    def _seat(self, index: int, honest: int | None, engine: int) -> Seat:
        secret = 100 + 2 * (index == SYBIL)
        first, second = sorted((Key(secret), Key(secret + 1)), key=lambda key: int(key.address, 16))
        purse = address(900 + secret)
        terms = Terms(
            signers=(first.address, second.address),
            owners=(purse, purse if index == SYBIL else address(901 + secret)),
            token=self.token.address,
            decimals=(6, 6, 7)[index],
            source=self.sources[index == ROGUE].address,
            engine=NOWHERE if engine == NONE else self.engines[engine - 1].address,
            policy=self.policy.hash,
            challenge_period=CHALLENGE,
            cure_period=CURE,
            grace=GRACE,
            spot_max_age=SPOT_MAX_AGE,
            last_resort=LAST_RESORT,
            salt=index.to_bytes(32, "big"),
        )
        account = Account(terms, terms.channel(CHAIN_ID, self.contract.address))
        self.model.accounts[account.id] = account
        return Seat(index, account, (first, second), honest, engine=engine)

    # ── deeds ──

    def act(self, rule: str, function: str, seat: Seat, *args: Any, sender: str = STRANGER, gas: int = GAS) -> str:
        """Do it on the chain and in the model, check every law, and return `ok` or the reason of the refusal."""
        given = [words(arg) if isinstance(arg, State) else arg for arg in args]
        events: tuple[Event, ...] = ()
        refused = None
        try:
            if function == "claim":
                receipt = self.contract.transact(function, *given, sender=sender, gas=gas)
            else:
                receipt = self.contract.transact(function, words(seat.terms), *given, sender=sender, gas=gas)
            events = tuple(event for event in receipt.events if event.address == self.contract.address)
        except Reverted as reverted:
            refused = reverted.reason
        starved = gas < GAS and refused in STARVED
        said, expected = ([], refused) if starved else self._ask_model(function, seat, args, sender)
        state = next((arg for arg in args if isinstance(arg, State)), None)
        stranger = not seat.account.is_side(sender)
        before, self.sight = self.sight, self.look()
        deed = Deed(function, seat.index, sender, stranger, state, refused, events, args)
        try:
            laws.check(self, before, deed, said, expected)
        except LawBroken:
            self.lawful = False
            raise
        outcome = "starved" if starved else "ok" if refused is None else refused
        self.tally[rule, outcome] += 1
        return outcome

    def _ask_model(self, function: str, seat: Seat, args: Any, sender: str) -> tuple[list[Said], str | None]:
        try:
            if function == "claim":
                return self.model.claim(*args), None
            said: list[Said] = getattr(self.model, function)(seat.account, sender, *args)
        except Refused as refusal:
            return [], refusal.reason
        return said, None

    def sign(self, seat: Seat, state: State) -> tuple[bytes, bytes]:
        """Return both signatures of a state that both signed, or that the honest party alone has let out."""
        digest = state.digest(CHAIN_ID, self.contract.address)
        return seat.keys[0].sign(digest), seat.keys[1].sign(digest)

    def fund(self, who: str, amount: int, allowed: int | None = None) -> None:
        """Mint tokens and let the adjudicator take them, or so much."""
        allowance, money = amount if allowed is None else allowed, self.model.money[self.token.address]
        self.chain.send(self.token.address, "mint(address,uint256)", who, amount)
        self.chain.send(self.token.address, "approve(address,uint256)", self.contract.address, allowance, sender=who)
        money.balances[who] += amount
        money.allowed[who] = allowance
        self.sight = self.look()

    def permit(self, who: str, amount: int, deadline: int) -> Permit:
        """Return the next permit that `who` could give the adjudicator."""
        nonce = self.model.money[self.token.address].nonces[who]
        return Permit(self.token.address, who, self.contract.address, amount, nonce, deadline)

    def present(self, permit: Permit, *signature: Any) -> None:
        """Let a stranger who saw a permit pending present it to the token first."""
        types = "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"
        fields = (permit.owner, permit.spender, permit.amount, permit.deadline, *signature)
        self.chain.send(self.token.address, types, *fields)
        self.model.money[self.token.address].permit(permit, self.chain.now, *signature)

    def donate(self, amount: int) -> None:
        """Send the adjudicator tokens that nobody accounts for."""
        self.chain.send(self.token.address, "mint(address,uint256)", self.contract.address, amount)
        self.model.money[self.token.address].balances[self.contract.address] += amount
        self.sight = self.look()

    def refuse(self, owner: str, refused: bool) -> None:
        """Let the token refuse to pay an owner, or relent."""
        self.chain.send(self.token.address, "refuse(address,bool)", owner, refused)
        purse = self.model.money[self.token.address].refused
        (purse.add if refused else purse.discard)(owner)

    def mood(self, index: int, mode: int) -> None:
        """Let a price source turn honest, reverting, gas-burning or absurd."""
        self.chain.send(self.sources[index].address, "set_mode(uint256)", mode)
        self.model.sources[self.sources[index].address].dead = mode != HONEST
        self.sight = self.look()

    def spot(self, index: int, underlying: bytes, price: int) -> None:
        """Let a source report a spot seen now."""
        self.sources[index].transact("set_spot", underlying, price, self.chain.now)
        self.model.sources[self.sources[index].address].spots[underlying] = price, self.chain.now

    def settlement(self, index: int, underlying: bytes, expiry: int, price: int) -> None:
        """Let a source settle an expiry; a hostile one may change its mind."""
        self.sources[index].transact("set_settlement", underlying, expiry, price)
        self.model.sources[self.sources[index].address].settlements[underlying, expiry] = price
        self.sight = self.look()

    def engine_mood(self, mode: int) -> None:
        """Let the fickle engine answer, revert, burn its gas, or answer nonsense."""
        self.engines[1].transact("set_mode", mode)
        self.fickle.silence = SILENCE[mode]

    def engine_says(self, above: int, proven: bool, worth: int, cost: int) -> None:
        """Let the fickle engine say what it is told."""
        self.engines[1].transact("tell", above, proven, worth, cost)
        self.fickle.above, self.fickle.proven, self.fickle.worth, self.fickle.cost = above, proven, worth, cost

    @property
    def fickle(self) -> Fickle:
        """The fickle engine in the model."""
        answer = self.model.engines[self.engines[1].address]
        assert isinstance(answer, Fickle)
        return answer

    # ── time ──

    def advance(self, moment: int) -> None:
        """Let time pass until `moment`; the honest parties do on the way what they must, each in its last second."""
        for due, duty, seat in sorted(self._duties(moment), key=lambda found: found[0]):
            self._at(max(due, self.chain.now))
            if duty == "answer":
                self.answer(seat)
            elif seat.account.phase(self.chain.now) == SETTLING:
                self.settle_as(seat, seat.terms.signers[seat.honest or 0])
        self._at(max(moment, self.chain.now))

    def answer(self, seat: Seat) -> None:
        """Let the honest party show its latest agreed state if the chain has an older one, and still takes it."""
        latest, account = seat.latest(), seat.account
        phase = account.phase(self.chain.now)
        if latest and latest.version > account.version and phase < SETTLING:
            function = "checkpoint" if phase == OPEN else "challenge"
            mine = seat.terms.signers[seat.honest or 0]
            self.act("guard", function, seat, latest, *self.sign(seat, latest), sender=mine)

    def _duties(self, moment: int) -> Iterator[tuple[int, str, Seat]]:
        """Yield what each honest party does until `moment`: answer disputes and calls, settle in good time."""
        for seat in self.seats:
            account, now = seat.account, self.chain.now
            if seat.honest is None or account.closed:
                continue
            call = account.calls[seat.honest]
            if call.armed and now < call.deadline <= moment:
                yield call.deadline - 1, "answer", seat
            elif call.armed and now < moment and self._is_executable(seat):
                # What was agreed after the cure deadline has no window: it is shown before time moves on.
                yield now, "answer", seat
            if account.deadline:
                last = self.model.last_resort_start(account)
                if now < account.deadline <= moment:
                    yield account.deadline - 1, "answer", seat
                if now < last <= moment:
                    yield last - 1, "settle", seat

    def _is_executable(self, seat: Seat) -> bool:
        state, honest = seat.account.registered or seat.nothing, seat.honest or 0
        return self.model.is_executable(seat.account, honest, state, book_of(state)[0])

    def _at(self, moment: int) -> None:
        self.chain.at(moment)
        self.model.now = moment
        self.sight = self.look()

    def settle_as(self, seat: Seat, sender: str) -> None:
        """Pin what can be pinned and settle."""
        state = seat.account.registered
        assert state is not None
        data, contents = book_of(state)
        for underlying, expiry in contents.lines if contents else ():
            if not self.model.price(seat.account, underlying, expiry):
                self.act("guard", "pin", seat, state, data, underlying, expiry, sender=sender)
        self.act("guard", "settle", seat, state, data, sender=sender)

    # ── sight ──

    def look(self) -> Sight:
        """Look at everything."""
        view, token = self.chain.view, self.token.address
        return Sight(
            now=self.chain.now,
            statuses=tuple(self.status(seat) for seat in self.seats),
            held=view(self.token, "balanceOf", self.contract.address)[0],
            wallets={who: view(self.token, "balanceOf", who)[0] for who in self.people},
            claimable={who: view(self.contract, "claimable", token, who)[0] for who in self.people},
            entitled=tuple(self.entitlement(seat) for seat in self.seats),
            prices={
                (seat.index, *line): view(self.contract, "effective_settlement", words(seat.terms), *line)[0]
                for seat in self.seats
                for line in LINES
                if line[1] <= self.chain.now
            },
        )

    def status(self, seat: Seat) -> Status:
        """Return what the adjudicator says of a channel."""
        phase, version, deadline, *rest = self.chain.view(self.contract, "status", seat.account.id)
        cure0, cure1, registered, deposit0, deposit1, paid0, paid1 = rest
        hashed = registered.to_bytes(32, "big")
        return Status(phase, version, deadline, (cure0, cure1), hashed, (deposit0, deposit1), (paid0, paid1))

    def entitlement(self, seat: Seat) -> tuple[int, int] | None:
        """Return what the registered state gives each side now; None if nothing is registered or it cannot settle."""
        state = seat.account.registered
        if state is None:
            return None
        data = book_of(state)[0]
        try:
            first, second = self.chain.view(self.contract, "entitlements", words(seat.terms), words(state), data)
        except Reverted:
            return None
        return first, second

    @contextmanager
    def fork(self) -> Iterator[None]:
        """What happens inside has not happened afterwards, neither on the chain nor in the model."""
        kept = self.model.accounts, self.model.money, self.model.sources, self.model.deferred, self.model.now
        seats, sight, fickle = self.seats, self.sight, replace(self.fickle)
        money, sources, deferred = copy.deepcopy(kept[1:4])
        with self.chain.fork():
            self.seats, self.model.money, self.model.sources, self.model.deferred = (
                self._copied(),
                money,
                sources,
                deferred,
            )
            self.model.accounts = {seat.account.id: seat.account for seat in self.seats}
            try:
                yield
            finally:
                self.model.accounts, self.model.money, self.model.sources, self.model.deferred, self.model.now = kept
                self.seats, self.sight = seats, sight
                self.model.engines[self.engines[1].address] = fickle

    def _copied(self) -> list[Seat]:
        # Keys are C objects, which do not copy, and need not.
        return [replace(s, account=copy.deepcopy(s.account), pacts=list(s.pacts)) for s in self.seats]
