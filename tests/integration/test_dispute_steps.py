"""What follows from a store and a chain, case by case, and that the screen fits whatever is in it. No EVM."""

from __future__ import annotations

import argparse
import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from channels.chain.encode import CallBuilder
from channels.chain.port import Block, Call, ChannelPhase, Located, OnChain
from channels.cli import dispute as command
from channels.cli.dispute_margin import call_lines
from channels.cli.dispute_screen import screen
from channels.cli.dispute_times import span
from channels.core.facts import ClosedSeen, RegisteredSeen
from channels.core.records import ChainSaid, Opened, Signed, StateAgreed, TermsAccepted
from channels.errors import KeyUnusable, RpcUnavailable, StoreCorrupt, TransactionReverted
from channels.model import EMPTY_BOOK, Address, Book, ChannelId, Intent, Leg, Party, State, Terms
from channels.runtime.dispute import Budget, Dispute
from channels.runtime.dispute_steps import Act, Evidence, Finished, Outlook, Step, Wait, enforceable, next_step
from channels.seal import state_struct_hash
from channels.store import MemoryStore
from tests import roles
from tests.roles import DAY, HOUR, NOW, UNIT

DEPOSITS = (10_000 * UNIT, 5_000 * UNIT)
CALLS = CallBuilder(roles.DEPLOYMENT)
AGREED = roles.agreed(roles.book(), version=5)
OLD = roles.agreed(roles.book(salt=b"o" * 32), version=3)
NEWER = roles.agreed(roles.book(salt=b"n" * 32), version=9)
CLOSE = roles.agreed(version=6, intent=Intent.CLOSE, valid_until=NOW + HOUR)
HALF = roles.half(held=roles.book(salt=b"h" * 32), version=7)
DEADLINE = NOW + HOUR


def evidence(*records: Any) -> Evidence:
    """What a store with these records proves, in Alice's hands."""
    store = MemoryStore()
    opened = Opened(roles.DEPLOYMENT, roles.TERMS, Party.ZERO, True)
    store.append(roles.CHANNEL, [opened, TermsAccepted(), *records])
    return Evidence.read(store, roles.CHANNEL)


def journal(*states: Any) -> tuple[Any, ...]:
    return tuple(StateAgreed(state, ()) for state in states)


class QuietChain(CallBuilder):
    """A chain that stands still in one status, and knows which calls it would refuse."""

    account, endpoint = roles.alice.address, "http://127.0.0.1"

    def __init__(
        self, status: OnChain, *, now: int = NOW, refuses: frozenset[str] = frozenset(), logs: tuple[Any, ...] = ()
    ) -> None:
        super().__init__(roles.DEPLOYMENT)
        self._status, self._now, self._refuses, self._logs = status, now, refuses, logs
        self.price = 0

    def head(self) -> Block:
        return Block(10, self._now)

    def status(self, channel: ChannelId, block: int | None = None) -> OnChain:
        return self._status

    def facts(self, first: int, last: int) -> list[Located]:
        return [Located(5, roles.CHANNEL, fact) for fact in self._logs if first <= 5 <= last]

    def simulate(self, call: Call) -> None:
        if call.name in self._refuses:
            raise TransactionReverted(call.name, "adjudicator: no")

    def effective_settlement(self, terms: Terms, underlying: str, expiry: int) -> int:
        return self.price

    def entitlements(self, terms: Terms, state: State | None, book: Book) -> tuple[int, int]:
        return DEPOSITS

    def claimable(self, token: Address, owner: Address) -> int:
        return 0

    def native_balance(self, owner: Address) -> int:
        return 10**18

    def send(self, call: Call) -> Any:
        raise AssertionError(f"{call.name} was sent")


def on_chain(phase: ChannelPhase, registered: State | None = None, **changes: Any) -> OnChain:
    deadline = DEADLINE if phase in (ChannelPhase.DISPUTED, ChannelPhase.SETTLING) else 0
    version, digest = (registered.version, state_struct_hash(registered)) if registered else (0, bytes(32))
    return replace(OnChain(phase, version, deadline, digest, DEPOSITS, (0, 0)), **changes)


def followed(proof: Evidence, chain: QuietChain) -> tuple[Outlook, Step]:
    dispute = Dispute(proof, chain)  # type: ignore[arg-type]  # only what a look asks for is there
    outlook = dispute.look()
    return outlook, dispute.next_step(outlook)


def named(step: Step) -> str:
    """The call of an act with its calldata's length, so that a challenge without signatures is told apart."""
    assert isinstance(step, Act), step
    return step.call.name


OPEN, DISPUTED, SETTLING, CLOSED = ChannelPhase


@pytest.mark.parametrize(
    ("states", "status", "now", "expected"),
    [
        ((AGREED,), on_chain(OPEN), NOW, CALLS.challenge(roles.TERMS, AGREED)),
        ((OLD, AGREED), on_chain(OPEN, OLD.state), NOW, CALLS.challenge(roles.TERMS, AGREED)),
        ((AGREED,), on_chain(OPEN, AGREED.state), NOW, CALLS.challenge_registered(roles.TERMS, AGREED.state)),
        ((), on_chain(OPEN), NOW, CALLS.challenge_unsigned(roles.TERMS)),
        ((OLD, AGREED), on_chain(DISPUTED, OLD.state), NOW, CALLS.challenge(roles.TERMS, AGREED)),
        ((AGREED,), on_chain(DISPUTED), NOW, CALLS.challenge(roles.TERMS, AGREED)),
        ((AGREED, CLOSE), on_chain(OPEN), NOW + HOUR, CALLS.close(roles.TERMS, CLOSE)),
        ((AGREED, CLOSE), on_chain(DISPUTED, AGREED.state), NOW, CALLS.close(roles.TERMS, CLOSE)),
        ((AGREED, CLOSE), on_chain(SETTLING, AGREED.state), NOW + HOUR, CALLS.close(roles.TERMS, CLOSE)),
        ((AGREED, CLOSE), on_chain(OPEN), NOW + HOUR + 1, CALLS.challenge(roles.TERMS, AGREED)),
        ((CLOSE, NEWER), on_chain(OPEN, NEWER.state), NOW, CALLS.challenge_registered(roles.TERMS, NEWER.state)),
        ((), on_chain(SETTLING), DEADLINE, CALLS.settle(roles.TERMS, None, EMPTY_BOOK)),
    ],
)
def test_the_call_that_follows(states: tuple[Any, ...], status: OnChain, now: int, expected: Call) -> None:
    _, step = followed(evidence(*journal(*states)), QuietChain(status, now=now))
    assert isinstance(step, Act) and step.call == expected


def test_after_the_deadline_a_newer_state_is_not_tried() -> None:
    chain = QuietChain(on_chain(SETTLING, OLD.state), now=DEADLINE)
    outlook, step = followed(evidence(*journal(OLD, AGREED)), chain)
    assert step == Wait(roles.EXPIRY, "the last leg to expire")
    assert enforceable(evidence(*journal(OLD, AGREED)), outlook) == (OLD.state, OLD.book)


def test_our_newest_state_registered_waits_for_the_deadline() -> None:
    _, step = followed(evidence(*journal(AGREED)), QuietChain(on_chain(DISPUTED, AGREED.state)))
    assert step == Wait(DEADLINE, "the dispute's deadline")


def test_a_close_that_the_contract_would_refuse_is_passed_over() -> None:
    chain = QuietChain(on_chain(OPEN), refuses=frozenset({"close"}))
    assert named(followed(evidence(*journal(AGREED, CLOSE)), chain)[1]) == "challenge"


@pytest.mark.parametrize(("at", "until"), [(0, 1), (1, 2), (2 * HOUR, 4 * HOUR)])
def test_a_missing_price_is_waited_for_until_each_grace(at: int, until: int) -> None:
    grace = roles.TERMS.grace
    chain = QuietChain(on_chain(SETTLING, AGREED.state), now=roles.EXPIRY + at, refuses=frozenset({"pin"}))
    outlook, step = followed(evidence(*journal(AGREED)), chain)
    assert outlook.missing == ((roles.ETH, roles.EXPIRY),) and not outlook.pinnable
    assert step == Wait(roles.EXPIRY + (grace if at < grace else 2 * grace), "a settlement price")


def test_a_price_that_can_be_fixed_is_fixed_and_a_known_one_is_not() -> None:
    chain = QuietChain(on_chain(SETTLING, AGREED.state), now=roles.EXPIRY)
    assert named(followed(evidence(*journal(AGREED)), chain)[1]) == "pin"
    chain.price = 10**18
    assert named(followed(evidence(*journal(AGREED)), chain)[1]) == "settle"


def test_a_half_signed_state_that_the_peer_completed_is_settled_with_its_book() -> None:
    proof = evidence(*journal(AGREED), Signed(HALF, ()))
    assert proof.half_signed == 7
    assert evidence(*journal(AGREED), Signed(roles.half(version=4), ())).half_signed == 0
    chain = QuietChain(on_chain(SETTLING, HALF.state), now=roles.EXPIRY)
    chain.price = 10**18
    outlook, step = followed(proof, chain)
    assert not outlook.foreign and isinstance(step, Act)
    assert step.call == CALLS.settle(roles.TERMS, HALF.state, HALF.book)


def test_a_state_that_only_the_logs_show_is_foreign_and_its_book_may_still_be_known() -> None:
    reopened = replace(AGREED.state, version=9, intent=Intent.REOPEN, valid_until=NOW)
    newer = roles.state(roles.book(salt=b"n" * 32), version=9)
    for state, known in ((reopened, AGREED.book), (newer, None)):
        chain = QuietChain(on_chain(DISPUTED, state), logs=(RegisteredSeen(state, DEADLINE),))
        outlook, step = followed(evidence(*journal(AGREED)), chain)
        assert outlook.foreign and outlook.registered == state and outlook.book == known
        assert isinstance(step, Wait)
    late = QuietChain(on_chain(SETTLING, newer), now=NOW + 400 * DAY, logs=(RegisteredSeen(newer, DEADLINE),))
    assert named(followed(evidence(*journal(AGREED)), late)[1]) == "last_resort"
    start = roles.TERMS.last_resort + roles.TERMS.challenge_period + 2 * roles.TERMS.grace
    early = QuietChain(on_chain(SETTLING, newer), now=start - 1, logs=(RegisteredSeen(newer, DEADLINE),))
    step = followed(evidence(*journal(AGREED)), early)[1]
    assert isinstance(step, Wait) and step.until == start


def test_an_endpoint_without_the_logs_is_at_fault() -> None:
    newer = roles.state(roles.book(salt=b"n" * 32), version=9)
    with pytest.raises(RpcUnavailable, match="no log of version 9"):
        followed(evidence(*journal(AGREED)), QuietChain(on_chain(DISPUTED, newer)))


def test_closed_channels_show_what_was_paid_and_claim_what_is_left() -> None:
    status = OnChain(CLOSED, 5, 0, bytes(32), (0, 0), (0, 0))
    outlook, step = followed(evidence(*journal(AGREED)), QuietChain(status, logs=(ClosedSeen((1, 2)),)))
    assert outlook.payouts == (1, 2) and isinstance(step, Finished)
    left = replace(outlook, claimable=7)
    step = next_step(evidence(*journal(AGREED)), left, CALLS)
    assert isinstance(step, Act) and step.call == CALLS.claim(roles.TERMS.token, roles.alice.owner)
    told = evidence(*journal(AGREED), ChainSaid(ClosedSeen((3, 4))))
    assert followed(told, QuietChain(status))[0].payouts == (3, 4)


def test_a_store_without_terms_and_a_key_of_the_peer_are_refused() -> None:
    store = MemoryStore()
    store.append(roles.CHANNEL, [TermsAccepted()])
    with pytest.raises(StoreCorrupt, match="does not begin with its terms"):
        Evidence.read(store, roles.CHANNEL)
    chain = QuietChain(on_chain(OPEN))
    chain.account = roles.bob.address
    with pytest.raises(KeyUnusable, match="the peer's"):
        Dispute(evidence(), chain).check()  # type: ignore[arg-type]  # as above


def test_what_would_revert_is_simulated_and_never_sent() -> None:
    chain = QuietChain(on_chain(OPEN), refuses=frozenset({"challenge"}))
    told: list[Any] = []
    with pytest.raises(TransactionReverted, match="adjudicator: no"):
        Dispute(evidence(*journal(AGREED)), chain).run(  # type: ignore[arg-type]  # as above
            lambda outlook, what: told.append(what), pause=lambda seconds: None
        )
    assert len(told) == 9  # five steps, four refusals that might have been a race


# The screen


def wide_book() -> Book:
    """As many legs as a book may have, with long strikes."""
    legs = [Leg.call(roles.ETH, roles.EXPIRY, f"{2_000 + i}.125", quantity=f"{i + 1}.5") for i in range(32)]
    return roles.book(legs)


@pytest.mark.parametrize("phase", [OPEN, DISPUTED, SETTLING])
@pytest.mark.parametrize("legs", [0, 4, 32])
@pytest.mark.parametrize("rich", [True, False])
def test_the_screen_fits_a_terminal_with_its_prompt(phase: ChannelPhase, legs: int, rich: bool) -> None:
    held = {0: EMPTY_BOOK, 4: roles.book(), 32: wide_book()}[legs]
    agreed = roles.agreed(held, version=5)
    chain = QuietChain(on_chain(phase, OLD.state), now=DEADLINE if phase is SETTLING else NOW)
    dispute = Dispute(evidence(*journal(OLD, agreed), Signed(HALF, ())), chain)  # type: ignore[arg-type]  # as above
    outlook = dispute.look()
    step = dispute.next_step(outlook)
    budget = Budget(4, 600_000, 50 * 10**9, 10**18 if rich else 0)
    lines = screen(dispute, outlook, step, budget, "USDC", height=23, clock=NOW)
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) <= 23, "\n".join(lines)
    everything = "\n".join(screen(dispute, outlook, step, budget, "USDC", clock=NOW))
    shown = outlook.book if phase is SETTLING else held
    assert shown is not None
    for leg in shown.legs:
        assert str(leg) in everything
    assert ("send 0.12 ETH" in everything.replace("\n" + " " * 12, " ")) is not rich


def test_spans_are_told_in_two_units() -> None:
    told = [span(seconds) for seconds in (0, 59, 60, 3_599, 3_600, 90_000, 86_400 * 400 + 1)]
    assert told == ["0 s", "59 s", "1 min", "59 min 59 s", "1 h", "1 d 1 h", "400 d"]


# The runbook

RUNBOOK = (Path(__file__).parents[2] / "docs" / "dispute.md").read_text("utf-8")


def test_the_runbook_names_the_options_the_labels_and_the_exit_status_that_there_are() -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    options = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
    assert set(re.findall(r"`(--[a-z-]+)", RUNBOOK)) | {"--rpc"} == options
    source = "".join(Path(inspect.getfile(part)).read_text("utf-8") for part in (screen, call_lines))
    labels = re.findall(r"^\| `([A-Z!][A-Z !]+)`", RUNBOOK, re.MULTILINE)
    assert len(labels) >= 9 and all(f'"{label}"' in source for label in labels)
    (told,) = re.findall(r"^Exit status: (.*)\.$", RUNBOOK, re.MULTILINE)
    assert told.replace("`", "") in command.DESCRIPTION


def test_the_runbooks_screen_is_one_that_the_program_draws() -> None:
    drawn = RUNBOOK.split("```")[3].strip("\n").splitlines()
    assert all(len(line) <= 80 for line in drawn) and len(drawn) <= 23
    chain = QuietChain(on_chain(DISPUTED, OLD.state))
    dispute = Dispute(evidence(*journal(OLD, AGREED)), chain)  # type: ignore[arg-type]  # as above
    outlook = dispute.look()
    budget = Budget(3, 600_000, 10**9, 10**18)
    ours = screen(dispute, outlook, dispute.next_step(outlook), budget, "USDC", clock=NOW)
    labels = [[line[:12].strip() for line in lines if line[:12].strip()] for lines in (drawn, ours)]
    assert labels[0] == labels[1]
