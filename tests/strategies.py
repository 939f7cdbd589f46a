"""Hypothesis strategies for the model's values: everything inside the protocol's bounds, and up to them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from channels.core import facts, records
from channels.core.channel import ChainView, Outstanding
from channels.core.margin_calls import MarginCall
from channels.model import (
    EMPTY_BOOK,
    Acknowledge,
    Address,
    Agreed,
    Book,
    ChannelId,
    Close,
    CloseOut,
    Deployment,
    ExpiryMark,
    HalfSigned,
    Intent,
    Leg,
    Mark,
    Marks,
    OptionKind,
    Party,
    Reopen,
    SettleExpiry,
    SpotMark,
    State,
    Trade,
    VolMark,
    Withdraw,
)
from channels.model.marks import MAX_RATIO, MAX_VOL
from channels.model.option import MAX_PRICE, MAX_QUANTITY
from channels.model.state import MAX_AMOUNT, MAX_VERSION
from channels.units import WAD
from channels.wire.messages import Recovery
from tests.roles import CHANNEL, DAY, DEPLOYMENT, NOW, TERMS

hashes = st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=65, max_size=65)
kinds = st.sampled_from(OptionKind)
parties = st.sampled_from(Party)
words64 = st.integers(0, 2**64 - 1)
amounts = st.integers(0, MAX_AMOUNT - 1)
balances = st.integers(1 - MAX_AMOUNT, MAX_AMOUNT - 1)
int256 = st.integers(-(2**255), 2**255 - 1)
strikes = st.integers(1, MAX_PRICE) | st.sampled_from([1, 2_000 * WAD, MAX_PRICE])
quantities = st.integers(1, MAX_QUANTITY).flatmap(lambda q: st.sampled_from([q, -q]))
expiries = st.integers(NOW + 1, NOW + 3650 * DAY)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=32)


@st.composite
def legs_of_a_book(draw: st.DrawFn, max_legs: int = 32) -> tuple[Leg, ...]:
    """Sorted legs of at most four underlyings and eight expiries."""
    underlyings = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    pairs = draw(st.lists(st.tuples(st.sampled_from(underlyings), expiries), min_size=1, max_size=8, unique=True))
    keys = draw(st.lists(st.tuples(st.sampled_from(pairs), strikes, kinds), min_size=1, max_size=max_legs, unique=True))
    return tuple(sorted((Leg(*pair, k, kind, draw(quantities)) for pair, k, kind in keys), key=lambda leg: leg.key))


@st.composite
def marks_for(draw: st.DrawFn, legs: tuple[Leg, ...]) -> Marks:
    """Marks within bounds that cover exactly `legs`; every forward stays below 2^92."""
    spots = {name: draw(strikes) for name in sorted({leg.underlying for leg in legs})}
    pairs = sorted({(leg.underlying, leg.expiry) for leg in legs})
    return Marks(
        draw(st.integers(NOW, NOW + DAY)),
        tuple(SpotMark(name, spot) for name, spot in spots.items()),
        tuple(
            ExpiryMark(
                u, e, draw(st.integers(1, min(MAX_RATIO, MAX_PRICE * WAD // spots[u]))), draw(st.integers(1, MAX_RATIO))
            )
            for u, e in pairs
        ),
        tuple(VolMark(*leg.key, draw(st.integers(0, MAX_VOL))) for leg in legs),
    )


@st.composite
def books(draw: st.DrawFn, max_legs: int = 32) -> Book:
    """Any book with positions."""
    legs = draw(legs_of_a_book(max_legs))
    return Book(legs, draw(marks_for(legs)), draw(hashes))


@st.composite
def states(draw: st.DrawFn, held: Book = EMPTY_BOOK, channel: ChannelId = CHANNEL) -> State:
    """Any state whose balances add up; a close where there is no book."""
    intent = draw(st.sampled_from([Intent.OPERATE, Intent.REOPEN] if held.legs else list(Intent)))
    first, second = draw(balances), draw(balances)
    total = first + second
    # |total| < 2^121: each of the two deposits (or withdrawals) takes one half of it
    low, high = abs(total) // 2, abs(total) - abs(total) // 2
    deposits, withdrawals = ((low, high), (0, 0)) if total >= 0 else ((0, 0), (low, high))
    return State(
        channel,
        draw(st.integers(1, MAX_VERSION)),
        intent,
        0 if intent is Intent.OPERATE else draw(st.integers(1, 2**64 - 1)),
        deposits,
        withdrawals,
        (first, second),
        held.hash,
    )


@st.composite
def signed_states(draw: st.DrawFn) -> tuple[State, Book]:
    """A state with the book it names."""
    held = draw(st.just(EMPTY_BOOK) | books(max_legs=4))
    return draw(states(held)), held


@st.composite
def trades(draw: st.DrawFn) -> Trade:
    """A trade of a few legs with marks for them."""
    legs = draw(legs_of_a_book(max_legs=4))
    return Trade(legs, draw(balances), draw(marks_for(legs)), draw(words64))


pairs256 = st.tuples(int256, int256)
operations: st.SearchStrategy[Any] = st.one_of(
    trades(),
    st.builds(Withdraw, st.integers(1, MAX_AMOUNT - 1)),
    legs_of_a_book(4).flatmap(marks_for).map(Mark),
    st.builds(Acknowledge, pairs256, pairs256),
    st.builds(SettleExpiry, names, words64, int256),
    st.builds(CloseOut, parties),
    st.builds(Close, int256, words64),
    st.builds(Reopen, pairs256, words64),
)
batches = st.lists(operations, min_size=1, max_size=3).map(tuple)
half_signed = st.builds(lambda pair, party, sig: HalfSigned(*pair, party, sig), signed_states(), parties, signatures)
agreed_states = st.builds(lambda pair, sigs: Agreed(*pair, sigs), signed_states(), st.tuples(signatures, signatures))
chain_facts: st.SearchStrategy[Any] = st.one_of(
    st.builds(facts.DepositSeen, parties, amounts),
    st.builds(facts.PaymentSeen, parties, amounts),
    st.builds(facts.RegisteredSeen, st.none() | states(), words64),
    st.builds(facts.SettlementSeen, names, words64, st.integers(0, 2**96)),
    st.builds(facts.ClosedSeen, st.tuples(amounts, amounts)),
)
journal_records: st.SearchStrategy[Any] = st.one_of(
    st.builds(records.Opened, st.just(DEPLOYMENT), st.just(TERMS), parties, st.booleans()),
    st.just(records.TermsAccepted()),
    st.builds(records.Signed, half_signed, batches),
    st.builds(records.StateAgreed, agreed_states, st.just(()) | batches),
    st.builds(records.ProposalsKilled, words64),
    st.builds(records.TurnMoved, words64),
    st.builds(records.ChainSaid, chain_facts),
    st.builds(records.BookRecalled, books()),
    st.builds(records.SigningFrozen, words64),
    st.builds(records.LossSuspected, hashes, words64),
    st.builds(records.RecoveryAsked, hashes, words64),
    st.builds(records.RecoveryGranted, hashes, words64, words64),
    st.builds(records.SigningResumed, hashes, words64, words64),
)
margin_calls = st.builds(MarginCall, words64, words64)
chain_views = st.builds(
    ChainView,
    deposits=st.tuples(amounts, amounts),
    paid=st.tuples(amounts, amounts),
    registered=st.none() | states(),
    deadline=words64,
    settlements=st.lists(st.builds(facts.SettlementSeen, names, words64, st.integers(0, 2**96)), max_size=3).map(tuple),
    payouts=st.none() | st.tuples(amounts, amounts),
    calls=st.tuples(margin_calls, margin_calls),
    margin_place=st.just((-1, -1)) | st.tuples(words64, words64),
    liquidated=st.none() | st.builds(facts.LiquidatedSeen, parties, balances, amounts, words64, words64),
)
checkpoints = st.builds(
    records.Checkpoint,
    accepted=st.booleans(),
    agreed=st.none() | agreed_states,
    closing=st.none() | agreed_states,
    outstanding=st.lists(st.builds(Outstanding, half_signed, batches, words64), max_size=3).map(tuple),
    signed=words64,
    turn=words64,
    chain=chain_views,
    recalled=st.none() | books(max_legs=4),
    frozen=words64,
    suspect=st.just(b"") | hashes,
    recovery=st.none() | st.builds(Recovery, hashes, words64),
    granted=st.none() | st.builds(records.RecoveryGranted, hashes, words64, words64),
    leap=words64,
    markers=st.lists(hashes, max_size=2).map(tuple),
    top_up=st.none() | st.builds(records.TopUpDecided, amounts, amounts),
    topped_up=amounts,
    in_flight=st.lists(words64, max_size=3).map(tuple),
)
deployments = st.builds(Deployment, st.integers(1, 2**64 - 1), st.binary(min_size=20, max_size=20).map(Address))
