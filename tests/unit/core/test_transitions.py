"""The transition table is the law: every phase meets every event."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, strategies as st

from channels.core import events as e, facts as f
from channels.core.channel import ChainView, Channel, Outstanding, changed
from channels.core.invariants import check
from channels.core.machine import _HANDLERS, step
from channels.core.phases import TRANSITIONS, Phase
from channels.errors import ChannelError, InvariantBroken, RuleViolation, SettlementInvalid, UnexpectedMessage
from channels.model import EMPTY_BOOK, Agreed, HalfSigned, Intent, Mark, Party, State
from channels.session import Seat, any_deal
from tests.roles import ETH, EXPIRY, HOUR, NOW, UNIT, alice, book, half, state
from tests.sansio import Joined, fresh
from tests.strategies import agreed_states, half_signed
from tools import draw_phases


@cache
def channel_in(phase: Phase) -> Channel:
    """Alice's channel, brought to a phase by what leads there."""
    world = Joined(opened=False)
    if phase is Phase.OPENING:
        world.open(world.alice)
        return world.alice.channel
    world = Joined()
    world.fund(1_000, 1_000)
    if phase is Phase.PROPOSED:
        world.propose(world.alice, Mark(), deliver=False)
    elif phase in (Phase.DISPUTED, Phase.SETTLING):
        world.confirm(f.RegisteredSeen(world.agreed.state, NOW + HOUR))
        world.block(NOW + (HOUR if phase is Phase.SETTLING else 1))
    elif phase is Phase.CLOSED:
        world.confirm(f.ClosedSeen((1, 2)))
    assert world.alice.channel.phase is phase
    return world.alice.channel


EVENTS: dict[type[e.Event], e.Event] = {
    type(event): event
    for event in (
        e.ProposalWanted((Mark(),), bytes(32), NOW),
        e.SignatureMade(7, bytes(65)),
        e.CollateralWanted(),
        e.TopUpWanted(5 * UNIT, 1_005 * UNIT, NOW + HOUR),
        e.CollateralCallSeen(1, 5),
        e.TurnNeeded(),
        e.TurnSpared(),
        e.SilenceNoticed(30),
        e.RecoveryWanted(b"m" * 32),
        e.RecoveryConsented(b"m" * 32),
        e.RecoveryAllowedSeen(b"m" * 32, 2**48, 0),
        e.Connected(),
        e.TermsConfirmed(),
        e.TermsRepeated(),
        e.ProposalSeen(half(Party.ONE, version=9), (Mark(),), NOW, None),
        e.ProposalBroken(9, SettlementInvalid("nothing is due")),
        e.AnswerDue(),
        e.AcceptSeen(2, bytes(65)),
        e.RejectSeen(2, "trade: invalid", "no"),
        e.TurnWantedSeen(),
        e.TurnPassedSeen(1),
        e.ResumeSeen(0, 0, None),
        e.BookFound(book()),
        e.BlockConfirmed(NOW + 2 * HOUR),
        e.DepositConfirmed(f.DepositSeen(Party.ONE, 5_000 * UNIT)),
        e.PaymentConfirmed(f.PaymentSeen(Party.ONE, 5)),
        e.RegistrationConfirmed(f.RegisteredSeen(None, NOW + 3 * HOUR)),
        e.SettlementConfirmed(f.SettlementSeen(ETH, EXPIRY, 10**18)),
        e.CloseConfirmed(f.ClosedSeen((1, 2))),
        e.MarginConfirmed(f.CalledSeen(Party.ONE, NOW + HOUR, 1, 0)),
    )
}


def test_every_event_is_known_to_the_table_and_to_a_handler() -> None:
    listed = {event for events in TRANSITIONS.values() for event in events}
    defined = {v for v in vars(e).values() if isinstance(v, type) and issubclass(v, e.Event) and v is not e.Event}
    assert listed == set(_HANDLERS) == set(EVENTS) == defined
    assert set(TRANSITIONS) == set(Phase)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_leads_where_the_table_says_or_changes_nothing(phase: Phase, event: type[e.Event]) -> None:
    channel = channel_in(phase)
    allowed = TRANSITIONS[phase].get(event)
    if allowed is None:
        seat = Seat(channel, alice.signer, deal=any_deal)
        with pytest.raises(UnexpectedMessage) as caught:
            seat.act(EVENTS[event])
        assert (caught.value.message, caught.value.phase) == (event.__name__, phase.value)
        assert seat.channel is channel
        return
    try:
        after = step(channel, EVENTS[event])
    except (RuleViolation, InvariantBroken):
        return
    assert after.channel.phase in allowed


def test_a_step_outside_the_table_is_a_bug_that_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = channel_in(Phase.OPEN)
    monkeypatch.setitem(TRANSITIONS[Phase.OPEN], e.CloseConfirmed, (Phase.OPEN,))
    with pytest.raises(InvariantBroken, match="transitions follow the table"):
        step(channel, EVENTS[e.CloseConfirmed])


BROKEN: dict[str, dict[str, Any]] = {
    "the highest signed version never falls": {"signed": 0, "outstanding": ()},
    "the agreed version never falls": {"agreed": None},
    "the turn counter never falls": {"turn": -2},
    "a frozen journal stays frozen": {"frozen": 0},
    "a copy stays a copy": {"suspect": b""},
    "a recovery is for ever": {"leap": 4},
    "a frozen journal signs nothing": {"frozen": 9, "signed": 7},
    "what is in flight is outstanding": {"in_flight": (5,)},
    "what is outstanding was signed": {"signed": 1, "in_flight": ()},
}


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_law_is_noticed(law: str) -> None:
    before = channel_in(Phase.PROPOSED)
    if law == "what is outstanding was signed":
        before = replace(before, signed=1)
    if "journal" in law or "copy" in law or "recovery" in law:
        before = replace(before, frozen=9 * ("journal" in law), suspect=b"m" * ("copy" in law), leap=5)
    with pytest.raises(InvariantBroken, match=law):
        check(before, replace(before, **BROKEN[law]))


@pytest.mark.parametrize("loss", [{"frozen": 9}, {"suspect": b"m"}], ids=str)
def test_the_step_that_notices_a_loss_signs_nothing_either(loss: dict[str, Any]) -> None:
    before = channel_in(Phase.OPEN)
    check(before, changed(before, **loss))
    check(before, changed(before, signed=before.signed + 1))
    with pytest.raises(InvariantBroken, match="a frozen journal signs nothing"):
        check(before, changed(before, signed=before.signed + 1, **loss))


def test_signatures_that_nobody_asked_for_are_a_bug() -> None:
    with pytest.raises(InvariantBroken):
        step(channel_in(Phase.OPEN), e.SignatureMade(3, bytes(65)))


def test_one_signature_is_asked_for_at_a_time() -> None:
    channel = channel_in(Phase.OPEN)
    asked = step(channel, e.ProposalWanted((Mark(),), fresh(), NOW)).channel
    with pytest.raises(ChannelError, match="one signature"):
        step(asked, e.ProposalWanted((Mark(),), fresh(), NOW))


def test_the_committed_drawing_is_the_table() -> None:
    assert draw_phases.TARGET.read_text("utf-8") == draw_phases.draw(), "run: python -m tools.draw_phases"
    assert draw_phases.README.read_text("utf-8") == draw_phases.readme(), "run: python -m tools.draw_phases"


def test_a_changed_channel_is_what_replace_makes() -> None:
    before = channel_in(Phase.PROPOSED)
    assert changed(before, turn=7, frozen=3) == replace(before, turn=7, frozen=3)
    assert changed(before, turn=7).margin_engine is before.margin_engine
    assert before.turn != 7
    with pytest.raises(TypeError, match="turns"):
        changed(before, turns=7)


def test_a_changed_channel_is_a_value_of_its_own() -> None:
    """Whole and frozen, and nothing that becomes of it becomes of the one that it was made from."""
    before = channel_in(Phase.PROPOSED)
    same, held = changed(before), dict(vars(before))
    assert same == before
    assert same is not before
    assert list(vars(same)) == [field.name for field in fields(Channel)]
    object.__setattr__(same, "turn", 7)
    assert vars(before) == held
    with pytest.raises(FrozenInstanceError):
        same.turn = 8  # type: ignore[misc]
    with pytest.raises(TypeError, match=r"\['agred', 'turns'\]"):
        changed(before, turn=7, turns=7, agred=None)


@given(
    st.none() | agreed_states,
    st.none() | agreed_states,
    st.lists(half_signed, max_size=4),
    st.integers(0, 2**64 - 1) | st.just(0),
    st.integers(0, 2**64 - 1) | st.just(0),
    st.data(),
)
def test_version_and_bar_are_those_of_what_was_signed(
    held: Agreed | None,
    closing: Agreed | None,
    halves: list[HalfSigned],
    registered: int,
    time: int,
    data: st.DataObject,
) -> None:
    """The highest version agreed; and the highest close or reopen above what is registered that has not expired."""
    hanging = tuple(Outstanding(half, ()) for half in halves)
    chain = ChainView(registered=state(version=registered) if registered else None, time=time)
    channel = changed(channel_in(Phase.OPEN), agreed=held, closing=closing, outstanding=hanging, chain=chain)
    assert channel.version == max([0, *(some.state.version for some in (held, closing) if some)])
    ending = [half.state for half in halves if half.state.intent in (Intent.CLOSE, Intent.REOPEN)]
    ending += [closing.state] if closing else []
    standing = {s.version: s for s in reversed(ending) if s.version > registered and s.valid_until >= time}
    assert channel.bar == (standing[max(standing)] if standing else None)
    if ending:
        last = data.draw(st.sampled_from(ending))
        for at, version in ((last.valid_until, 0), (last.valid_until + 1, 0), (0, last.version), (0, last.version - 1)):
            chain = ChainView(registered=state(version=version) if version else None, time=at)
            alone = changed(channel, closing=None, outstanding=(Outstanding(half_of(last), ()),), chain=chain)
            bars = last.intent is not Intent.OPERATE and at <= last.valid_until and version < last.version
            assert (alone.bar is not None) is bars


def half_of(of: State) -> HalfSigned:
    """The state half-signed, without positions."""
    made = replace(of, book=EMPTY_BOOK.hash)
    return HalfSigned(made, EMPTY_BOOK, Party.ZERO, bytes(65))
