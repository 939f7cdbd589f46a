"""Two parties, a token, a price source, an adjudicator: what every test needs before it can begin to misbehave.

`World` is one chain with one adjudicator and any number of channels. A `Channel` speaks for both keys, which is what an
adversary holding both can do; honest play is the default of every method.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from tests.contracts.encoding import CLOSE, ETH, NOWHERE, REOPEN, WAD, Key, Leg, State, Terms, book, book_hash
from tests.contracts.evm import START, Chain, Contract, Receipt, account

MINUTE, HOUR, DAY = 60, 3_600, 86_400
UNIT = 10**6
CHALLENGE = HOUR
CURE = 10 * MINUTE
GRACE = 2 * HOUR
SPOT_MAX_AGE = 5 * MINUTE
LAST_RESORT = START + 90 * DAY
EXPIRY = START + 7 * DAY


@dataclass(frozen=True, slots=True)
class Status:
    """The adjudicator's `status`, decoded."""

    phase: int
    version: int
    deadline: int
    cure_deadlines: tuple[int, int]
    registered: bytes
    deposits: tuple[int, int]
    paid: tuple[int, int]


class World:
    """One chain: adjudicator, token, source, and the channels opened on them."""

    def __init__(
        self,
        token: str = "TestToken",
        source: str = "MockSource",
        chain: Chain | None = None,
    ) -> None:
        self.chain = chain or Chain(START)
        self.adjudicator = self.chain.deploy("Adjudicator")
        self.token = self.deploy_token(token)
        self.source = self.chain.deploy(source)
        self._salt = 0

    def deploy_token(self, name: str) -> Contract:
        """Deploy another token."""
        return self.chain.deploy(name, "Test dollar", "USDT", 6) if name == "TestToken" else self.chain.deploy(name)

    def channel(
        self,
        deposits: tuple[int, int] = (0, 0),
        keys: tuple[Key, Key] | None = None,
        token: Contract | None = None,
        **changes: Any,
    ) -> "Channel":
        """Agree terms (defaults overridden by `changes`) and make the deposits."""
        self._salt += 1
        money = token or self.token
        pair = keys or (Key(1_000 + 2 * self._salt), Key(1_001 + 2 * self._salt))
        first, second = sorted(pair, key=lambda key: int(key.address, 16))
        terms = Terms(
            signers=(first.address, second.address),
            owners=(account(10_000 + 2 * self._salt), account(10_001 + 2 * self._salt)),
            token=money.address,
            decimals=6,
            source=self.source.address,
            engine=NOWHERE,
            policy=b"policy".ljust(32, b"\0"),
            challenge_period=CHALLENGE,
            cure_period=CURE,
            grace=GRACE,
            spot_max_age=SPOT_MAX_AGE,
            last_resort=LAST_RESORT,
            salt=self._salt.to_bytes(32, "big"),
        )
        opened = Channel(self, replace(terms, **changes), (first, second), money)
        for party, amount in enumerate(deposits):
            if amount:
                opened.deposit(party, amount)
        return opened

    def balance(self, owner: str, token: Contract | None = None) -> int:
        """Return a token balance."""
        amount: int = (token or self.token).call("balanceOf", owner)
        return amount

    def claimable(self, owner: str, token: Contract | None = None) -> int:
        """Return what failed pushes left behind for an owner."""
        amount: int = self.adjudicator.call("claimable", (token or self.token).address, owner)
        return amount

    def settle_price(self, expiry: int, price: int, underlying: bytes = ETH) -> None:
        """Let the mock source settle an expiry."""
        self.source.transact("set_settlement", underlying, expiry, price)

    def spot(self, price: int, age: int = 0, underlying: bytes = ETH) -> None:
        """Let the mock source report a spot."""
        self.source.transact("set_spot", underlying, price, self.chain.now - age)


class Channel:
    """One channel, spoken for by both keys."""

    def __init__(self, world: World, terms: Terms, keys: tuple[Key, Key], token: Contract) -> None:
        self.world = world
        self.terms = terms
        self.keys = keys
        self.token = token
        self.id = terms.channel(world.chain.id, world.adjudicator.address)
        self.books: dict[bytes, bytes] = {bytes(32): b""}

    # ── saying ──

    def state(self, version: int, *legs: Leg, spots: dict[bytes, int] | None = None, **fields: Any) -> State:
        """Return an OPERATE state on the present deposits; party 1's balance is the rest unless it is given."""
        data = book(*legs, spots=spots)
        self.books[book_hash(data)] = data
        deposits = self.status().deposits
        said: dict[str, Any] = {"deposit0": deposits[0], "deposit1": deposits[1], "book": book_hash(data)} | fields
        total = said["deposit0"] + said["deposit1"] - said.get("withdrawal0", 0) - said.get("withdrawal1", 0)
        said.setdefault("balance0", said["deposit0"] - said.get("withdrawal0", 0))
        said.setdefault("balance1", total - said["balance0"])
        return State(channel=self.id, version=version, **said)

    def closing(self, version: int, **fields: Any) -> State:
        """Return a CLOSE state, valid for an hour."""
        return self.state(version, **{"intent": CLOSE, "valid_until": self.world.chain.now + HOUR} | fields)

    def reopening(self, state: State, version: int | None = None, **fields: Any) -> State:
        """Return the REOPEN that differs from `state` only in what a REOPEN may change."""
        changes = {
            "intent": REOPEN,
            "valid_until": self.world.chain.now + HOUR,
            "version": version or state.version + 1,
        }
        return state.but(**changes | fields)

    def sign(self, state: State) -> tuple[bytes, bytes]:
        """Return both parties' signatures."""
        digest = state.digest(self.world.chain.id, self.world.adjudicator.address)
        return self.keys[0].sign(digest), self.keys[1].sign(digest)

    def book_of(self, state: State) -> bytes:
        """Return the book bytes behind a state made here."""
        return self.books[state.book]

    @property
    def nothing(self) -> State:
        """The state that `challenge_unsigned` registers."""
        return State(channel=self.id)

    # ── doing ──

    def deposit(self, party: int, amount: int, payer: str | None = None) -> Receipt:
        """Mint, approve and deposit."""
        who = payer or self.terms.owners[party]
        self.token.transact("mint", who, amount)
        self.token.transact("approve", self.world.adjudicator.address, amount, sender=who)
        return self.send("deposit", party, amount, sender=who)

    def checkpoint(self, state: State, sigs: Sequence[bytes] | None = None, **options: Any) -> Receipt:
        """Register a newer state."""
        return self.send("checkpoint", astuple(state), *(sigs or self.sign(state)), **options)

    def challenge(
        self, state: State, sigs: Sequence[bytes] | None = None, sender: str | None = None, **options: Any
    ) -> Receipt:
        """Start or answer a dispute, by default as party 0's signer."""
        who = sender or self.terms.signers[0]
        return self.send("challenge", astuple(state), *(sigs or self.sign(state)), sender=who, **options)

    def rechallenge(self, state: State, sender: str | None = None) -> Receipt:
        """Start a dispute with exactly the registered state, without signatures."""
        return self.challenge(state, (b"", b""), sender)

    def challenge_unsigned(self, sender: str | None = None) -> Receipt:
        """Start a dispute about nothing."""
        return self.send("challenge_unsigned", sender=sender or self.terms.signers[0])

    def close(self, state: State, sigs: Sequence[bytes] | None = None, **options: Any) -> Receipt:
        """Close together."""
        return self.send("close", astuple(state), *(sigs or self.sign(state)), **options)

    def margin_call(
        self,
        state: State,
        party: int,
        witness: Sequence[int],
        sigs: Sequence[bytes] | None = None,
        sender: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Call `party` for margin on a state, by default as the other party's signer."""
        who = sender or self.terms.signers[1 - party]
        args = (astuple(state), *(sigs or self.sign(state)), self.book_of(state), party, list(witness))
        return self.send("margin_call", *args, sender=who, **options)

    def recall(self, state: State, party: int, witness: Sequence[int], sender: str | None = None) -> Receipt:
        """Call `party` for margin on exactly the registered state, without signatures."""
        return self.margin_call(state, party, witness, (b"", b""), sender)

    def cure(self, state: State, party: int, **options: Any) -> Receipt:
        """Show that `party` is compliant."""
        return self.send("cure", astuple(state), self.book_of(state), party, **options)

    def liquidate(
        self, state: State, party: int, witness: Sequence[int], sender: str | None = None, **options: Any
    ) -> Receipt:
        """Close `party` out, by default as the other party's signer."""
        who = sender or self.terms.signers[1 - party]
        return self.send("liquidate", astuple(state), self.book_of(state), party, list(witness), sender=who, **options)

    def release(self, state: State, party: int, amount: int, sender: str | None = None, **options: Any) -> Receipt:
        """Take excess collateral out, by default as the party's owner."""
        who = sender or self.terms.owners[party]
        return self.send("release", astuple(state), self.book_of(state), party, amount, sender=who, **options)

    def pin(self, state: State, expiry: int = EXPIRY, underlying: bytes = ETH, **options: Any) -> Receipt:
        """Pin the price of an expiry."""
        return self.send("pin", astuple(state), self.book_of(state), underlying, expiry, **options)

    def settle(self, state: State, **options: Any) -> Receipt:
        """Settle."""
        return self.send("settle", astuple(state), self.book_of(state), **options)

    def pay(self, state: State, **options: Any) -> Receipt:
        """Pay what had been blocked."""
        return self.send("pay", astuple(state), **options)

    def last_resort(self, state: State, **options: Any) -> Receipt:
        """Pay a state whose book is lost."""
        return self.send("last_resort", astuple(state), **options)

    def claim(self, owner: str, **options: Any) -> Receipt:
        """Claim what a failed push left behind."""
        return self.world.adjudicator.transact("claim", self.token.address, owner, **options)

    def send(self, function: str, *args: Any, **options: Any) -> Receipt:
        """Call any entry point that takes the terms first."""
        return self.world.adjudicator.transact(function, astuple(self.terms), *args, **options)

    # ── seeing ──

    def status(self) -> Status:
        """Return what the chain knows."""
        return Status(*self.world.adjudicator.call("status", self.id))

    @property
    def pot(self) -> int:
        """What the channel still holds."""
        status = self.status()
        return sum(status.deposits) - sum(status.paid)

    def wallets(self) -> tuple[int, int]:
        """Return the owners' token balances."""
        first, second = self.terms.owners
        return self.world.balance(first, self.token), self.world.balance(second, self.token)

    def entitlements(self, state: State) -> tuple[int, int]:
        """Return what each side would be paid if `state` were registered and settled now."""
        answer = self.world.adjudicator.call("entitlements", astuple(self.terms), astuple(state), self.book_of(state))
        return answer[0], answer[1]

    def effective_settlement(self, expiry: int = EXPIRY, underlying: bytes = ETH) -> int:
        """Return what an expiry settled at."""
        price: int = self.world.adjudicator.call("effective_settlement", astuple(self.terms), underlying, expiry)
        return price

    def pinned(self, expiry: int = EXPIRY, underlying: bytes = ETH) -> int:
        """Return the pinned price."""
        price: int = self.world.adjudicator.call("pinned", self.id, underlying, expiry)
        return price

    def reach_settling(self) -> None:
        """Let the dispute's deadline come."""
        self.world.chain.at(self.status().deadline)


def call(strike: int, quantity: int, expiry: int = EXPIRY, underlying: bytes = ETH) -> Leg:
    """Return a call; strike and quantity in whole units, positive quantity: party 0 is long."""
    return Leg(underlying, expiry, strike * WAD, 0, quantity * WAD)


def put(strike: int, quantity: int, expiry: int = EXPIRY, underlying: bytes = ETH) -> Leg:
    """Return a put."""
    return Leg(underlying, expiry, strike * WAD, 1, quantity * WAD)
