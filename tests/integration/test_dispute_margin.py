"""Margin calls in a dispute: what is shown, what follows with which orders, and that it ends where it should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from channels.chain.port import ChannelPhase, Receipt
from channels.cli.dispute_screen import screen
from channels.cli.main import main
from channels.core.records import Opened, StateAgreed, TermsAccepted
from channels.model import Agreed, Party
from channels.runtime.dispute import Budget, Dispute
from channels.runtime.dispute_steps import NO_ORDERS, Act, Evidence, Orders, Outlook, Step, Wait
from channels.runtime.keys import KEY_VARIABLE
from channels.store import MemoryStore, SqliteStore
from tests.integration import dispute_world
from tests.integration.chain_world import CONDOR, DEPOSITS
from tests.integration.margin_world import SHORT, Desk
from tests.roles import HOUR, PARTIES, UNIT, alice, bob, book
from tests.rpc_server import serving

LIQUIDATE = Orders(liquidate=True)
RICH = Orders(top_up=9_000 * UNIT)
BUDGET = Budget(3, 600_000, 10**9, 10**18)


class Called(Desk):
    """Alice is called for margin on version 1, with the spot at 3,300."""

    def __init__(self) -> None:
        super().__init__()
        self.final = self.agreed(1, SHORT)
        self.deadline = self.called(self.final)

    def records(self, me: Party, *agreed: Agreed) -> list[object]:
        opened = Opened(self.local.deployment, self.terms, me, True)
        return [opened, TermsAccepted(), *(StateAgreed(made, ()) for made in (self.final, *agreed))]

    def dispute(self, me: Party, orders: Orders = NO_ORDERS, *agreed: Agreed) -> Dispute:
        """What a party with these states, and these orders, would do."""
        store = MemoryStore()
        store.append(self.channel, self.records(me, *agreed))  # type: ignore[arg-type]  # records all
        return Dispute(Evidence.read(store, self.channel), (self.alice, self.bob)[me], orders)

    def pass_the_deadline(self, price: int = 3_400) -> None:
        self.local.set_time(max(self.deadline, self.local.now))
        self.spot(price)


@pytest.fixture
def desk() -> Called:
    return Called()


def seen(dispute: Dispute) -> tuple[Outlook, Step, str]:
    """The outlook, the next step, and the screen as one line."""
    outlook = dispute.look()
    step = dispute.next_step(outlook)
    lines = screen(dispute, outlook, step, BUDGET, "USDC", clock=outlook.now)
    assert all(len(line) <= 80 for line in lines)
    return outlook, step, " ".join(" ".join(lines).split())


def sent(step: Step, dispute: Dispute) -> str:
    """Carry out a step and name its entry point."""
    assert isinstance(step, Act)
    return dispute.chain.send(step.call).call


# The caller


def test_the_caller_waits_for_its_window_and_liquidates(desk: Called) -> None:
    dispute = desk.dispute(Party.ONE, LIQUIDATE)
    _, step, text = seen(dispute)
    assert step == Wait(desk.deadline, "the cure deadline of the peer's margin call")
    assert "PEER CALLED for margin: you may close it out from" in text and "--liquidate" not in text
    assert "NEXT 1. wait for the cure deadline" in text and "2. liquidate" in text

    said: list[str] = []

    def tell(outlook: Outlook, what: object) -> None:
        said.append(what.call if isinstance(what, Receipt) else "")
        assert len(said) < 20

    def pause(seconds: float) -> None:
        desk.pass_the_deadline()

    outlook = dispute.run(tell, pause=pause, poll=0.0)
    assert [call for call in said if call] == ["liquidate"]
    assert outlook.phase is ChannelPhase.CLOSED
    assert outlook.payouts is not None and outlook.payouts[1] > DEPOSITS[1] + 9_000 * UNIT
    assert desk.trent.balance_of(desk.local.token, bob.owner) == outlook.payouts[1]


def test_without_the_order_nobody_is_liquidated(desk: Called) -> None:
    desk.pass_the_deadline()
    _, step, text = seen(desk.dispute(Party.ONE))
    assert isinstance(step, Act) and step.call.name == "challenge"
    assert "not cured: you may close it out until" in text and "(give --liquidate to do it)" in text
    assert "below maintenance" in text


def test_a_peer_that_is_whole_again_is_not_closed_out(desk: Called) -> None:
    desk.pass_the_deadline(2_300)
    outlook, step, text = seen(desk.dispute(Party.ONE, LIQUIDATE))
    call = outlook.call_on(Party.ZERO)
    assert call and call.times and call.times.is_executable and not call.is_executable
    assert isinstance(step, Act) and step.call.name == "challenge"
    assert "now it is not below maintenance" in text


def test_a_lapsed_call_is_said_to_be_one(desk: Called) -> None:
    desk.local.set_time(desk.deadline + HOUR)
    desk.spot(3_400)
    outlook, step, text = seen(desk.dispute(Party.ONE, LIQUIDATE))
    assert outlook.calls and outlook.call_on(Party.ZERO) is None
    assert isinstance(step, Act) and step.call.name == "challenge"
    assert "the margin call has lapsed" in text
    assert "has lapsed: nobody can be closed out on it" in seen(desk.dispute(Party.ZERO))[2]


def test_a_stale_dispute_is_answered_before_a_liquidation_is_waited_for(desk: Called) -> None:
    desk.alice.send(desk.alice.challenge_registered(desk.terms, desk.final.state))
    newer = desk.agreed(2, CONDOR)
    _, step, _ = seen(desk.dispute(Party.ONE, LIQUIDATE, newer))
    assert isinstance(step, Act) and step.what == "answer with version 2"


def test_an_expired_leg_without_a_price_holds_a_liquidation_up(desk: Called) -> None:
    """The second call is made after the last leg has expired, and its window waits for the price."""
    desk.local.set_time(SHORT.last_expiry + 1)
    desk.spot(4_000)
    call = desk.bob.margin_call_registered(desk.terms, desk.final.state, SHORT, Party.ZERO, [0])
    desk.bob.send(call)
    desk.local.set_time(desk.bob.status(desk.channel).cure_deadlines[0])
    desk.spot(4_000)
    dispute = desk.dispute(Party.ONE, LIQUIDATE)
    outlook, step, _ = seen(dispute)
    assert isinstance(step, Wait) and "settlement price" in step.what
    assert step.until == SHORT.last_expiry + 2 * desk.terms.grace
    desk.local.set_time(SHORT.last_expiry + desk.terms.grace)
    desk.spot(4_000)
    assert outlook.phase is ChannelPhase.OPEN, "a price is fixed for it, in a channel without a dispute"
    assert [sent(seen(dispute)[1], dispute) for _ in range(2)] == ["pin", "liquidate"]


# The called side


def test_a_newer_state_ends_the_call(desk: Called) -> None:
    newer = desk.agreed(2, CONDOR)
    dispute = desk.dispute(Party.ZERO, RICH, newer)
    _, step, text = seen(dispute)
    assert "! CALLED FOR MARGIN, until" in text
    assert "version 2 ends the call" in text
    assert sent(step, dispute) == "challenge"
    assert desk.trent.status(desk.channel).cure_deadlines == (0, 0)


def test_what_is_lacking_is_shown_and_nothing_is_spent_without_the_order(desk: Called) -> None:
    outlook, step, text = seen(desk.dispute(Party.ZERO))
    call = outlook.call_on(Party.ZERO)
    assert call is not None and call.report is not None
    report = desk.reports(desk.final.state, SHORT, outlook.now)[0]
    assert call.lacking == report.initial_margin - report.equity > 0
    assert f"To deposit it, give --top-up {call.top_up / UNIT:.2f}"[:-1] in text
    assert isinstance(step, Act) and step.call.name == "challenge"
    _, step, _ = seen(desk.dispute(Party.ZERO, Orders(top_up=call.lacking - 1)))
    assert isinstance(step, Act) and step.call.name == "challenge"
    _, step, _ = seen(desk.dispute(Party.ZERO, Orders(top_up=call.lacking)))
    assert isinstance(step, Act) and step.call.spends is not None and step.call.spends.amount == call.lacking


def test_a_top_up_is_deposited_and_the_call_cured(desk: Called) -> None:
    dispute = desk.dispute(Party.ZERO, RICH)
    outlook, _, text = seen(dispute)
    call = outlook.call_on(Party.ZERO)
    assert call is not None
    assert "will be deposited" in text and "NEXT 1. top up" in text and "2. cure" in text
    before = desk.alice.balance_of(desk.local.token, alice.address)
    calls: list[str] = []

    class Enough(Exception):
        """The call is cured: what follows is another test's."""

    def tell(outlook: Outlook, what: object) -> None:
        if isinstance(what, Receipt):
            calls.append(what.call)
            if what.call == "cure":
                raise Enough

    with pytest.raises(Enough):
        dispute.run(tell, pause=lambda seconds: None, poll=0.0)
    assert calls == ["deposit", "cure"]
    paid = before - desk.alice.balance_of(desk.local.token, alice.address)
    assert paid == RICH.top_up - dispute.orders.top_up
    assert call.lacking is not None and call.lacking < paid <= call.top_up + UNIT
    assert desk.trent.status(desk.channel).cure_deadlines == (0, 0)


def test_who_holds_its_initial_margin_again_cures_for_gas_alone(desk: Called) -> None:
    desk.spot(2_300)
    dispute = desk.dispute(Party.ZERO)
    _, step, text = seen(dispute)
    assert "curing costs only gas" in text
    assert sent(step, dispute) == "cure"


def test_a_stale_spot_is_named(desk: Called) -> None:
    desk.local.advance(desk.terms.spot_max_age + 1)
    _, step, text = seen(desk.dispute(Party.ZERO, RICH))
    assert "what is lacking is not known: the price source has no fresh spot" in text
    assert isinstance(step, Act) and step.call.name == "challenge"


def test_a_call_upon_a_book_that_the_store_lacks(desk: Called) -> None:
    """An old copy of the store: the deadline is known, and nothing else."""
    desk.called(desk.agreed(7, book(SHORT.legs, salt=b"u" * 32)), 3_400)
    for party in Party:
        _, _, text = seen(desk.dispute(party, replace(RICH, liquidate=True)))
        assert "this store lacks the book of the registered state" in text


# The command


def test_the_command_shows_a_call_and_carries_out_a_liquidation(desk: Called, tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "alice.sqlite")
    store.append(desk.channel, desk.records(Party.ONE))  # type: ignore[arg-type]  # records all
    store.close()
    key = PARTIES[Party.ONE].signer
    with serving(desk.local) as server:
        w = dispute_world.World(desk.local, server, tmp_path, desk.terms, desk.channel, {1: desk.final})
        shown = w.dispute("--dry-run", "--liquidate", key=key)
        assert "PEER CALLED for margin: you may close it out from" in shown.out
        assert "NEXT        1. wait for the cure deadline of the peer's margin call" in shown.out
        assert (shown.status, w.sent()) == (0, 0)
        desk.pass_the_deadline()
        done = w.dispute("--yes", "--liquidate", key=key)
        assert done.status == 0, done.err
        assert w.status.phase is ChannelPhase.CLOSED
        assert "Done: you were paid" in done.out


def test_the_command_refuses_a_top_up_that_is_no_amount(
    desk: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SqliteStore.open(tmp_path / "alice.sqlite")
    store.append(desk.channel, desk.records(Party.ZERO))  # type: ignore[arg-type]  # records all
    store.close()
    monkeypatch.setenv(KEY_VARIABLE, dispute_world.secret_of(alice.signer))
    assert main(["dispute", str(tmp_path / "alice.sqlite"), "--rpc", "http://127.0.0.1:1", "--top-up", "much"]) == 1
    assert "--top-up" in capsys.readouterr().err
