"""Logs into facts, with eth-abi writing the logs: each event, each boundary value, and what is passed over."""

from __future__ import annotations

import pytest
from eth_abi import encode
from eth_abi.exceptions import DecodingError
from hypothesis import given, strategies as st

from channels.chain.abi import abi_of, revert_reason
from channels.chain.decode import decode_log, state_of, underlying_of
from channels.chain.encode import state_tuple
from channels.core.facts import (
    CalledSeen,
    ClosedSeen,
    CuredSeen,
    DepositSeen,
    LiquidatedSeen,
    PaymentSeen,
    RegisteredSeen,
    ReleasedSeen,
    SettlementSeen,
)
from channels.errors import InvalidBook, InvariantBroken
from channels.model import Intent, Party, keccak
from tests.roles import CHANNEL, ETH, UNIT, book, condor, state

EVENTS = abi_of("Adjudicator").events
amounts = st.integers(0, 2**119)


PLACE = (7, 3)


def log(name: str, *values: object) -> tuple[list[bytes], bytes, int, int]:
    """A log as the adjudicator would write it, in block 7, the fourth there."""
    return [EVENTS[name].topic, CHANNEL], encode(EVENTS[name].inputs, values), *PLACE


@given(party=st.sampled_from(Party), amount=amounts, total=amounts)
def test_money_in_and_out(party, amount, total):
    assert decode_log(*log("Deposited", int(party), amount, total)) == (CHANNEL, DepositSeen(party, total))
    assert decode_log(*log("Paid", int(party), amount, total)) == (CHANNEL, PaymentSeen(party, total))


@given(
    version=st.integers(1, 2**64 - 1),
    intent=st.sampled_from([Intent.OPERATE, Intent.REOPEN]),
    until=st.integers(1, 2**64 - 1),
    owed=st.integers(-(2**118), 2**118),
    deadline=st.integers(0, 2**64 - 1),
)
def test_a_registered_state_comes_back_whole(version, intent, until, owed, deadline):
    held = book(condor())
    first = state(
        held,
        version=version,
        intent=intent,
        valid_until=until if intent else 0,
        balances=(owed, 15_000 * UNIT - owed),
    )
    made = log("Registered", deadline, state_tuple(CHANNEL, first))
    assert decode_log(*made) == (CHANNEL, RegisteredSeen(first, deadline))


def test_the_all_zero_state_is_none():
    assert decode_log(*log("Registered", 77, state_tuple(CHANNEL, None))) == (CHANNEL, RegisteredSeen(None, 77))
    assert state_of(state_tuple(CHANNEL, None)) is None


def test_a_pin_is_a_settlement():
    name = ETH.encode().ljust(32, b"\0")
    assert decode_log(*log("Pinned", name, 1_704_441_600, 5, 1)) == (CHANNEL, SettlementSeen(ETH, 1_704_441_600, 5))


def test_closed():
    assert decode_log(*log("Closed", 3, 4)) == (CHANNEL, ClosedSeen((3, 4)))


@given(
    party=st.sampled_from(Party),
    deadline=st.integers(0, 2**64 - 1),
    amount=amounts,
    value=st.integers(-(2**119), 2**119),
)
def test_margin_facts_know_their_place(party, deadline, amount, value):
    assert decode_log(*log("Called", int(party), deadline)) == (CHANNEL, CalledSeen(party, deadline, *PLACE))
    assert decode_log(*log("Cured", int(party))) == (CHANNEL, CuredSeen(party, *PLACE))
    liquidated = LiquidatedSeen(party, value, amount, *PLACE)
    assert decode_log(*log("Liquidated", int(party), value, amount)) == (CHANNEL, liquidated)
    assert decode_log(*log("Released", int(party), amount)) == (CHANNEL, ReleasedSeen(party, amount, *PLACE))


def test_events_that_state_no_fact_are_passed_over():
    deferred = [EVENTS["Deferred"].topic, CHANNEL, bytes(32)]
    assert decode_log(deferred, encode(EVENTS["Deferred"].inputs, (b"\1" * 20, 5)), *PLACE) is None
    assert decode_log([], b"", *PLACE) is None
    assert decode_log([keccak(b"Called(bytes32)"), CHANNEL], b"", *PLACE) is None
    topics, data, *_ = log("Closed", 3, 4)
    assert decode_log(topics[:1], data, *PLACE) is None


@pytest.mark.parametrize("word", [b"\xff" * 32, bytes(32), b" ETH".ljust(32, b"\0"), b"ETH\0USD".ljust(32, b"\0")])
def test_a_name_nobody_can_say_is_passed_over(word):
    assert decode_log(*log("Pinned", word, 1, 5, 1)) is None
    with pytest.raises(InvalidBook):
        underlying_of(word)


def test_a_state_nobody_may_sign_is_passed_over():
    row = list(state_tuple(CHANNEL, state()))
    row[8] += 1
    assert decode_log(*log("Registered", 0, tuple(row))) is None


@pytest.mark.parametrize(
    "name", ["Deposited", "Registered", "Paid", "Pinned", "Closed", "Called", "Cured", "Liquidated", "Released"]
)
def test_bytes_the_adjudicator_cannot_have_written(name):
    with pytest.raises(DecodingError):
        decode_log([EVENTS[name].topic, CHANNEL], b"\xff" * 31, *PLACE)


def test_topics_and_selectors_are_the_known_ones():
    assert abi_of("TestToken").functions["transfer"].selector.hex() == "a9059cbb"
    transfer = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    assert abi_of("TestToken").events["Transfer"].topic.hex() == transfer


def test_a_function_the_artifact_lacks():
    with pytest.raises(InvariantBroken, match="selfdestruct"):
        abi_of("Adjudicator").call_data("selfdestruct")


def test_revert_reasons():
    assert revert_reason(bytes.fromhex("08c379a0") + encode(("string",), ("state: expired",))) == "state: expired"
    assert revert_reason(bytes.fromhex("08c379a0") + b"\xff" * 64) is None
    assert revert_reason(bytes.fromhex("4e487b71") + bytes(32)) is None
    assert revert_reason(b"") is None
