"""`channels dispute`, from a store that real nodes wrote to the payout, in a process of its own over a JSON-RPC.

The test is the world: it lets time pass, reports prices, plays the peer, and presses Ctrl-C.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from channels.chain.port import ChannelPhase
from channels.model import EMPTY_BOOK, Close, Intent, Leg
from channels.risk.payoff import payoff, payouts
from channels.units import WAD
from tests import roles
from tests.integration.dispute_world import (
    DEPOSITS,
    World,
    a_trade,
    finished,
    interrupt,
    secret_of,
    two_trades,
    world,
)
from tests.pair import Pair

MANUAL: dict[str, Any] = {"alice_config": {"settle": False}, "bob_config": {"settle": False}}
"""Nodes that agree on things and leave it to others to bring them on-chain."""


def paid_by(w: World, version: int, price: int) -> tuple[int, int]:
    """What party 0 and 1 must get by a version: computed here, from the legs and the price."""
    agreed = w.states[version]
    worth = payoff(agreed.book.legs, {(roles.ETH, roles.EXPIRY): price * WAD}, 6)
    return payouts(*agreed.state.balances, worth, sum(DEPOSITS) * roles.UNIT)


def wallets(w: World) -> tuple[int, int]:
    return w.balance(roles.alice), w.balance(roles.bob)


def test_a_dispute_ends_in_the_payout_of_the_newest_state(tmp_path: Path) -> None:
    with world(tmp_path, two_trades) as w:
        before = wallets(w)
        running = w.start("--yes")
        w.phase(ChannelPhase.DISPUTED)
        assert w.status.version == w.newest.version
        w.pass_the_deadline()
        w.expire(2_450)
        done = finished(running)
        assert done.status == 0, done.err
        expected = paid_by(w, w.newest.version, 2_450)
        assert tuple(now - then for now, then in zip(wallets(w), before, strict=True)) == expected
        assert f"you were paid {expected[0] / 10**6:g} USDC" in done.out
        assert w.sent() == 2
        assert all(len(line) <= 80 for line in done.lines), max(done.lines, key=len)


def test_a_stale_challenge_is_answered_and_the_clock_is_not_moved(tmp_path: Path) -> None:
    with world(tmp_path, two_trades) as w:
        bob, old = w.client(roles.bob), w.states[w.newest.version - 1]
        bob.send(bob.challenge(w.terms, old))
        deadline = w.status.deadline
        shown = w.dispute("--dry-run")
        assert f"version {old.version} becomes final at the deadline" in shown.out
        assert f"1. answer with version {w.newest.version}" in shown.out
        running = w.start("--yes")
        w.until(lambda: w.status.version == w.newest.version)
        assert w.status.deadline == deadline
        w.pass_the_deadline()
        w.expire(2_700)
        assert finished(running).status == 0
        assert w.balance(roles.alice) - (1_000_000 - DEPOSITS[0]) * roles.UNIT == paid_by(w, w.newest.version, 2_700)[0]


def test_ctrl_c_at_every_stage_loses_nothing_and_sends_nothing_twice(tmp_path: Path) -> None:
    with world(tmp_path, two_trades) as w:
        waiting_for_the_deadline = w.start("--yes")
        w.until(lambda: w.sent() == 1)
        first = interrupt(waiting_for_the_deadline)
        assert first.status == 130 and "run the same command again" in first.out
        w.phase(ChannelPhase.DISPUTED)

        killed = w.start("--yes")
        w.until(lambda: "eth_getLogs" in w.server.methods or w.server.methods.count("eth_chainId") == 2)
        killed.kill()
        killed.wait()

        w.pass_the_deadline()
        waiting_for_the_expiry = w.start("--yes")
        line = ""
        while "waiting for the last leg" not in line:
            assert waiting_for_the_expiry.stdout is not None
            line = waiting_for_the_expiry.stdout.readline()
            assert line, "it ended"
        assert interrupt(waiting_for_the_expiry).status == 130

        w.expire()
        last = w.dispute("--yes")
        assert last.status == 0 and "Done: you were paid" in last.out
        assert w.sent() == 2
        again = w.dispute("--yes")
        assert again.status == 0 and "CLOSED" in again.out and "PAID" in again.out
        assert w.sent() == 2


def test_a_dry_run_sends_nothing_in_any_phase(tmp_path: Path) -> None:
    with world(tmp_path, two_trades) as w:
        alice = w.client(roles.alice)
        for step in ("open the dispute", "wait for the dispute's deadline", "wait for the last leg", "settle"):
            before = w.status, alice.native_balance(roles.alice.address)
            done = w.dispute("--dry-run", "--yes")
            assert (
                done.status == 0 and step in done.out and "Nothing was sent" in done.out.replace("nothing", "Nothing")
            )
            assert (w.status, alice.native_balance(roles.alice.address)) == before
            assert len(done.lines) <= 23 and all(len(line) <= 80 for line in done.lines)
            if w.status.phase is ChannelPhase.OPEN:
                alice.send(alice.challenge(w.terms, w.newest))
            elif w.status.phase is ChannelPhase.DISPUTED:
                w.pass_the_deadline()
            elif w.local.now < roles.EXPIRY:
                w.expire()
        assert w.sent() == 0


def test_without_an_answer_at_the_prompt_nothing_is_sent(tmp_path: Path) -> None:
    with world(tmp_path, a_trade) as w:
        done = w.dispute()
        assert done.status == 3 and "Go ahead? [y/N]" in done.out and "--yes" in done.out
        assert w.sent() == 0 and w.status.phase is ChannelPhase.OPEN


def test_the_deadline_is_shown_in_utc_and_in_local_time(tmp_path: Path) -> None:
    with world(tmp_path, a_trade) as w:
        alice = w.client(roles.alice)
        alice.send(alice.challenge(w.terms, w.newest))
        shown = w.dispute("--dry-run").out
        utc, local = re.findall(r"Fri 05 Jan 2024 (\d\d:\d\d:\d\d) (?:UTC, in|CET in your)", shown)
        assert int(local[:2]) == int(utc[:2]) + 1 and local[2:] == utc[2:]
        assert "! CLOCK" in shown and "behind this machine" in shown


async def an_agreed_close(pair: Pair) -> None:
    await a_trade(pair)
    until = pair.local.now + 600
    await pair.alice.channel.propose(Close(pair.alice.channel.margin.value * -1, until))


@pytest.mark.parametrize("disputed", [False, True])
def test_an_agreed_close_in_time_is_submitted_instead(tmp_path: Path, disputed: bool) -> None:
    with world(tmp_path, an_agreed_close, **MANUAL) as w:
        close = w.newest
        assert close.state.intent is Intent.CLOSE
        if disputed:
            bob = w.client(roles.bob)
            bob.send(bob.challenge(w.terms, w.states[close.version - 1]))
        before = wallets(w)
        done = w.dispute("--yes")
        assert done.status == 0 and "better than a dispute, it pays at once" in done.out
        assert tuple(now - then for now, then in zip(wallets(w), before, strict=True)) == close.state.balances
        assert w.sent() == 1


def test_a_close_that_has_expired_is_not_used(tmp_path: Path) -> None:
    with world(tmp_path, an_agreed_close, **MANUAL) as w:
        w.local.set_time(w.newest.state.valid_until + 1)
        done = w.dispute("--dry-run")
        assert "open the dispute with version" in done.out and "CLOSE" not in done.out


async def deposits_only(pair: Pair) -> None:
    for side, amount in zip(pair.sides, DEPOSITS, strict=True):
        await side.channel.deposit(amount)


def test_with_nothing_agreed_each_gets_its_deposits_back(tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"alice_config": {"housekeeping": False}, "bob_config": {"housekeeping": False}}
    with world(tmp_path, deposits_only, **quiet) as w:
        assert not w.states
        running = w.start("--yes")
        w.phase(ChannelPhase.DISPUTED)
        w.pass_the_deadline()
        done = finished(running)
        assert done.status == 0 and "nothing was ever agreed: you are owed exactly what you deposited" in done.out
        assert wallets(w) == (1_000_000 * roles.UNIT, 1_000_000 * roles.UNIT)


def test_what_the_chain_has_already_is_disputed_without_signatures(tmp_path: Path) -> None:
    with world(tmp_path, a_trade) as w:
        bob = w.client(roles.bob)
        bob.send(bob.checkpoint(w.terms, w.newest))
        running = w.start("--yes")
        w.phase(ChannelPhase.DISPUTED)
        w.pass_the_deadline()
        w.expire()
        done = finished(running)
        assert done.status == 0 and "which the chain has already" in done.out


@pytest.mark.parametrize(("graces", "origin"), [(1, "spot"), (2, "book")])
def test_prices_that_nobody_reports_are_pinned(tmp_path: Path, graces: int, origin: str) -> None:
    with world(tmp_path, two_trades) as w:
        running = w.start("--yes")
        w.phase(ChannelPhase.DISPUTED)
        w.pass_the_deadline()
        w.local.set_time(roles.EXPIRY)
        price = 2_300  # the book's own
        w.local.set_time(roles.EXPIRY + graces * w.terms.grace)
        if origin == "spot":
            price = 2_500
            w.local.publish_spot(roles.ETH, price * WAD)
        done = finished(running)
        assert done.status == 0 and "fix the settlement price of ETH/USD" in done.out
        assert w.sent() == 3
        gained = w.balance(roles.alice) - (1_000_000 - DEPOSITS[0]) * roles.UNIT
        assert gained == paid_by(w, w.newest.version, price)[0]


async def a_trade_copied_before_the_second(pair: Pair) -> None:
    await a_trade(pair)
    path = Path(pair.stores[0].path)
    shutil.copy(f"{path}-wal", path.with_name("old.sqlite-wal"))
    shutil.copy(path, path.with_name("old.sqlite"))
    await two_more(pair)


async def two_more(pair: Pair) -> None:
    call = Leg.call(roles.ETH, roles.EXPIRY, 2400, quantity=2)
    await pair.alice.channel.propose(pair.alice.channel.trade([call], premium="80"))


def test_an_old_copy_of_the_store_is_told_so_and_ends_in_the_last_resort(tmp_path: Path) -> None:
    with world(tmp_path, a_trade_copied_before_the_second) as w:
        bob = w.client(roles.bob)
        bob.send(bob.challenge(w.terms, w.newest))
        old = tmp_path / "old.sqlite"
        shown = w.dispute("--dry-run", store=old)
        assert "! OLD COPY" in shown.out and f"the chain has version {w.newest.version}" in shown.out
        assert "OLDER than the chain's" in shown.out and "! NO BOOK" in shown.out

        running = w.start("--yes", store=old)
        w.pass_the_deadline()
        w.local.set_time(w.terms.last_resort + w.terms.challenge_period + 2 * w.terms.grace)
        done = finished(running)
        assert done.status == 0 and "last resort: pay the cash" in done.out
        paid = w.balance(roles.alice) - (1_000_000 - DEPOSITS[0]) * roles.UNIT
        assert paid == w.newest.state.balances[0]


def test_a_stale_state_that_became_final_is_settled_all_the_same(tmp_path: Path) -> None:
    with world(tmp_path, two_trades) as w:
        bob, old = w.client(roles.bob), w.states[w.newest.version - 1]
        bob.send(bob.challenge(w.terms, old))
        w.pass_the_deadline()
        w.expire(2_450)
        done = w.dispute("--yes")
        assert done.status == 0 and f"deadline passed, version {old.version} is final" in done.out
        assert w.balance(roles.alice) - (1_000_000 - DEPOSITS[0]) * roles.UNIT == paid_by(w, old.version, 2_450)[0]


def test_the_owner_key_alone_is_enough(tmp_path: Path) -> None:
    owners = (roles.trent.address, roles.bob.address)
    with world(tmp_path, a_trade, terms={"owners": owners}) as w:
        w.local.fund(roles.trent.address, ether=1)
        key_file = tmp_path / "key"
        key_file.write_text(secret_of(roles.trent.signer) + "\n")
        running = w.start("--yes", "--key-file", str(key_file), key=None)
        w.phase(ChannelPhase.DISPUTED)
        w.pass_the_deadline()
        w.expire()
        assert finished(running).status == 0
        assert w.balance(roles.trent) == paid_by(w, w.newest.version, 2_450)[0]


def test_an_empty_channel_has_nothing_to_enforce(tmp_path: Path) -> None:
    async def nothing(pair: Pair) -> None:
        assert pair.alice.channel.state.base == (None, EMPTY_BOOK)

    with world(tmp_path, nothing) as w:
        done = w.dispute("--yes")
        assert done.status == 0 and "the channel holds no money" in done.out
        assert w.sent() == 0
