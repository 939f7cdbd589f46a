"""Terms, states and books as the adjudicator's calldata, and one builder per entry point.

Pure: a `Call` is a value. The tuples follow the contract's struct order, which is that of protocol §2.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model import ZERO32, Address, Agreed, Book, ChannelId, Deployment, Party, State, Terms
from ..model.option import underlying_word
from .abi import Abi, abi_of
from .port import Call, Spend

NO_SIGNATURE = b""


def terms_tuple(terms: Terms) -> tuple[object, ...]:
    """Return the terms in the order of the contract's struct, made of words: an address is the number it is."""
    return (
        *map(_number, terms.signers),
        *map(_number, terms.owners),
        _number(terms.token),
        terms.decimals,
        _number(terms.source),
        _number(terms.engine),
        terms.policy,
        terms.challenge_period,
        terms.cure_period,
        terms.grace,
        terms.spot_max_age,
        terms.last_resort,
        terms.salt,
    )


def state_tuple(channel: ChannelId, state: State | None) -> tuple[object, ...]:
    """Return a state in the order of the contract's struct; None is the all-zero state of an unsigned challenge."""
    if state is None:
        return (channel, *(0,) * 9, ZERO32)
    return (
        state.channel,
        state.version,
        int(state.intent),
        state.valid_until,
        *state.deposits,
        *state.withdrawals,
        *state.balances,
        state.book,
    )


def _number(address: Address) -> int:
    return int.from_bytes(address, "big")


class CallBuilder:
    """Builds the calls of one deployment; see `port.ChainCalls` for what each does."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def approve(self, token: Address, amount: int) -> Call:
        args = (self._deployment.adjudicator, amount)
        return Call("approve", token, abi_of("TestToken").call_data("approve", *args))

    def deposit(self, terms: Terms, party: Party, amount: int) -> Call:
        data = self._abi.call_data("deposit", terms_tuple(terms), int(party), amount)
        return Call("deposit", self._deployment.adjudicator, data, Spend(terms.token, amount))

    def checkpoint(self, terms: Terms, agreed: Agreed) -> Call:
        return self._signed("checkpoint", terms, agreed)

    def challenge(self, terms: Terms, agreed: Agreed) -> Call:
        return self._signed("challenge", terms, agreed)

    def challenge_registered(self, terms: Terms, state: State) -> Call:
        return self._call("challenge", terms, state_tuple(state.channel, state), NO_SIGNATURE, NO_SIGNATURE)

    def challenge_unsigned(self, terms: Terms) -> Call:
        return self._call("challenge_unsigned", terms)

    def close(self, terms: Terms, agreed: Agreed) -> Call:
        return self._signed("close", terms, agreed)

    def margin_call(self, terms: Terms, agreed: Agreed, party: Party, witness: Sequence[int]) -> Call:
        return self._margin_call(terms, agreed.state, agreed.signatures, agreed.book, party, witness)

    def margin_call_registered(
        self, terms: Terms, state: State, book: Book, party: Party, witness: Sequence[int]
    ) -> Call:
        return self._margin_call(terms, state, (NO_SIGNATURE, NO_SIGNATURE), book, party, witness)

    def cure(self, terms: Terms, state: State, book: Book, party: Party) -> Call:
        return self._call("cure", terms, state_tuple(state.channel, state), book.encoded, int(party))

    def liquidate(self, terms: Terms, state: State, book: Book, party: Party, witness: Sequence[int]) -> Call:
        args = (state_tuple(state.channel, state), book.encoded, int(party), list(witness))
        return self._call("liquidate", terms, *args)

    def release(self, terms: Terms, state: State, book: Book, party: Party, amount: int) -> Call:
        return self._call("release", terms, state_tuple(state.channel, state), book.encoded, int(party), amount)

    def pin(self, terms: Terms, state: State, book: Book, underlying: str, expiry: int) -> Call:
        where = (underlying_word(underlying), expiry)
        return self._call("pin", terms, state_tuple(state.channel, state), book.encoded, *where)

    def settle(self, terms: Terms, state: State | None, book: Book) -> Call:
        return self._call("settle", terms, self._state(terms, state), book.encoded)

    def pay(self, terms: Terms, state: State) -> Call:
        return self._call("pay", terms, state_tuple(state.channel, state))

    def last_resort(self, terms: Terms, state: State | None) -> Call:
        return self._call("last_resort", terms, self._state(terms, state))

    def claim(self, token: Address, owner: Address) -> Call:
        return Call("claim", self._deployment.adjudicator, self._abi.call_data("claim", token, owner))

    @property
    def _abi(self) -> Abi:
        return abi_of("Adjudicator")

    def _state(self, terms: Terms, state: State | None) -> tuple[object, ...]:
        return state_tuple(terms.channel_id(self._deployment), state)

    def _margin_call(
        self,
        terms: Terms,
        state: State,
        signatures: tuple[bytes, bytes],
        book: Book,
        party: Party,
        witness: Sequence[int],
    ) -> Call:
        args = (state_tuple(state.channel, state), *signatures, book.encoded, int(party), list(witness))
        return self._call("margin_call", terms, *args)

    def _signed(self, name: str, terms: Terms, agreed: Agreed) -> Call:
        return self._call(name, terms, state_tuple(agreed.state.channel, agreed.state), *agreed.signatures)

    def _call(self, name: str, terms: Terms, *args: object) -> Call:
        data = self._abi.call_data(name, terms_tuple(terms), *args)
        return Call(name, self._deployment.adjudicator, data)
