"""Two sessions joined by hand: no network, no chain, no clock. What a protocol engine does once I/O is taken away.

    python examples/03_sans_io.py

Use this layer to put channels on a transport of your own, or to step through the protocol in a test. A `Session` takes
the peer's bytes and returns what must happen, in order; whoever drives it makes it happen. The one rule a driver must
keep is the order: what is to be persisted is durable before what comes after it is said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from channels import (
    DEFAULT_POLICY,
    Acknowledge,
    Address,
    ChannelId,
    Deployment,
    DepositConfirmed,
    DepositSeen,
    Effect,
    Hangup,
    Leg,
    MarginShortfall,
    MarkPolicy,
    Marks,
    MemoryStore,
    Notify,
    Party,
    PeerKnown,
    Persist,
    Reply,
    Role,
    Routed,
    Seat,
    Send,
    Session,
    Signer,
    Terms,
    Trade,
    open_channel,
    replay,
)

NOW = 1_704_700_800  # 2024-01-08 08:00 UTC: time is handed in, like everything else from outside
ALICE, BOB = sorted((Signer(b"\1" * 32), Signer(b"\2" * 32)), key=lambda key: key.address)
DEPLOYMENT = Deployment(chain_id=1, adjudicator=Address(b"\7" * 20))
TERMS = Terms.between(
    ALICE.address,
    BOB.address,
    token=Address(b"\3" * 20),
    decimals=6,
    source=Address(b"\4" * 20),
    policy=DEFAULT_POLICY.hash,
    salt=b"\0" * 32,
    last_resort=NOW + 365 * 86_400,
)
CHANNEL = TERMS.channel_id(DEPLOYMENT)


def market(legs: tuple[Leg, ...], now: int) -> Marks:
    return Marks.at(now, spots={leg.underlying: 2300 for leg in legs}, vols=dict.fromkeys(legs, "0.55"))


class Side:
    """One party: a session, a store, and the bytes that wait to be sent. This class is the whole driver."""

    def __init__(self, name: str, signer: Signer, role: Role) -> None:
        self.name, self.signer = name, signer
        self.store = MemoryStore()
        self.outbox: deque[bytes] = deque()
        self.seats: dict[ChannelId, Seat] = {}  # our machine per channel, shared with the session
        self.session = Session(signer, role, name.encode().ljust(32, b"\0"), self.seats, opener=self.accept)
        self.outbox.append(self.session.start())

    def accept(self, deployment: Deployment, terms: Terms) -> tuple[Seat, list[Effect]]:
        """Decide on terms that the peer proposes. A real policy looks at token, source and periods; we take all."""
        step = open_channel(deployment, terms, Party.ONE, DEFAULT_POLICY, MarkPolicy(), initiated=False)
        return Seat(step.channel, self.signer, market), [c for c in step.commands if isinstance(c, Effect)]

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Persist, then speak: `append` returns when the record is durable, and only then does the next line run."""
        for effect in effects:
            match effect:
                case Persist(record):
                    self.store.append(CHANNEL, [record])
                    print(f"{self.name:5}  persist  {type(record).__name__}")
                case Send(message):
                    self.outbox.append(Session.to_bytes(message))
                    print(f"{self.name:5}  send     {type(message).__name__}")
                case Notify(notice):
                    print(f"{self.name:5}  notify   {type(notice).__name__}")

    def receive(self, data: bytes) -> None:
        """Hand the peer's bytes to the session, in any pieces, and do what it returns."""
        for output in self.session.receive_data(data, NOW):
            match output:
                case Reply(answer):
                    self.outbox.append(answer)
                case Routed(_, effect):
                    self.carry_out([effect])
                case PeerKnown(peer):
                    print(f"{self.name:5}  knows    {peer}")
                case Hangup(error, _):
                    raise error


def exchange(one: Side, other: Side) -> None:
    """Carry bytes both ways until nobody has anything to say. This is the network."""
    while one.outbox or other.outbox:
        for sender, receiver in ((one, other), (other, one)):
            while sender.outbox:
                receiver.receive(sender.outbox.popleft())


def main() -> None:
    alice, bob = Side("alice", ALICE, Role.DIALER), Side("bob", BOB, Role.LISTENER)
    exchange(alice, bob)  # greetings and signed Hellos: each knows whom it talks to

    # Alice opens a channel.
    opening = open_channel(DEPLOYMENT, TERMS, Party.ZERO, DEFAULT_POLICY, MarkPolicy(), initiated=True)
    seat = alice.seats[CHANNEL] = Seat(opening.channel, ALICE, market)
    alice.carry_out(c for c in opening.commands if isinstance(c, Effect))
    exchange(alice, bob)

    # The chain says that both deposited: its facts are handed in too, once confirmed.
    for side in (alice, bob):
        for party in Party:
            side.carry_out(side.seats[CHANNEL].act(DepositConfirmed(DepositSeen(party, 10_000_000_000))))

    # Two agreed states: the deposits, then a trade. `propose` half-signs; the peer checks, signs and accepts.
    acknowledge = Acknowledge(deposits=(10_000_000_000, 10_000_000_000), payments=(0, 0))
    alice.carry_out(seat.propose((acknowledge,), salt=b"1" * 32, now=NOW))
    exchange(alice, bob)
    legs = (
        Leg.call("ETH/USD", "2024-01-26", 2400, quantity=10),
        Leg.call("ETH/USD", "2024-01-26", 2600, quantity=-10),
    )
    trade = Trade(legs, 466_000_000, market(legs, NOW))
    alice.carry_out(seat.propose((trade,), salt=b"2" * 32, now=NOW))
    exchange(alice, bob)

    # A broken rule raises before anything is signed, and leaves no trace.
    naked = (Leg.call("ETH/USD", "2024-01-26", 2500, quantity=-500),)
    before = seat.channel
    try:
        seat.propose((Trade(naked, 0, market((*legs[:1], *naked, *legs[1:]), NOW)),), salt=b"3" * 32, now=NOW)
    except MarginShortfall as refused:
        print(f"alice  refused  {refused.code}: party {refused.party} lacks {refused.shortfall} token units")
    assert seat.channel == before

    # Both hold the same agreed state, and it is the one that their journals lead to: a crash loses nothing.
    for side in (alice, bob):
        live = side.seats[CHANNEL].channel
        assert live.agreed is not None and seat.channel.agreed is not None
        assert live.agreed.state == seat.channel.agreed.state
        assert replay(side.store.records(CHANNEL), DEFAULT_POLICY, MarkPolicy()).agreed == live.agreed
        print(f"{side.name:5}  holds    version {live.version}, {len(live.book.legs)} legs, {live.phase.value}")


if __name__ == "__main__":
    main()
