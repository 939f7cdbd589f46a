"""What must be true once everything has healed and come to rest, read off the history and compared with the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from channels.core.channel import Channel
from channels.core.exposure import exposure
from channels.core.fold import replay
from channels.core.phases import Phase
from channels.errors import ChannelError, MarkRefused, ProposalRejected, SigningBarred
from channels.model import (
    EXCLUSIVE,
    Acknowledge,
    Agreed,
    ChannelId,
    Close,
    CloseOut,
    Intent,
    Leg,
    Operation,
    Party,
    Reopen,
    SettleExpiry,
    State,
    Trade,
    Withdraw,
    net,
)
from tests.sansio import durable

from .history import LawBroken

if TYPE_CHECKING:
    from .world import World


async def one_more_each(world: World) -> None:
    """Life goes on: where nothing bars it, each side gets one more mark agreed."""
    from .world import PATIENCE

    for channel, (_, pair) in world.wanted.items():
        for machine in pair:
            live = world.live(machine, channel)
            if live is None or live.phase is not Phase.OPEN or live.state.bar is not None:
                continue
            if world.chain.account(channel).deadline or world.chain.account(channel).payouts:
                continue
            if any(leg.expiry <= world.chain.now for leg in live.state.book.legs):
                continue
            world.faults.fired["one more mark"] += 1
            refused: ChannelError | None = None
            with trio.move_on_after(PATIENCE) as scope:
                while live.phase in (Phase.OPEN, Phase.PROPOSED):
                    try:
                        await live.mark()
                        break
                    except ChannelError as failed:
                        # An owner's challenge that was on its way is mined now; the peer may hear of it before we do.
                        ends = world.chain.account(channel).deadline or world.chain.account(channel).payouts
                        if live.phase is Phase.OPEN and not ends and not _passes(failed):
                            world.fail(f"life goes on: {machine.name}'s mark after healing ends with {failed!r}")
                        refused = failed
                        await trio.sleep(2)
            if scope.cancelled_caught:
                world.fail(f"life goes on: {machine.name}'s mark after healing is still refused: {refused!r}")


def _passes(failed: ChannelError) -> bool:
    """Whether time alone ends this refusal.

    Marks do not go back in time, and the peer's clock may be ahead; a close that one side signed bars it for a minute.
    """
    code = failed.code if isinstance(failed, ProposalRejected) else ""
    return isinstance(failed, MarkRefused | SigningBarred) or code in (MarkRefused.code, SigningBarred.code)


async def journals(world: World) -> None:
    """Every journal, replayed, is the running channel."""
    for channel, (_, pair) in world.wanted.items():
        for machine in pair:
            live, node, store = world.live(machine, channel), machine.node, machine.store
            assert live is not None and node is not None and store is not None
            for _ in range(3):
                # The chain may speak between two looks; what was said is then on its way to the disk.
                await node.driver.flush()
                journal = replay(store.records(channel), world.policy, live.state.mark_policy)
                if durable(journal) == durable(live.state):
                    break
            else:
                world.fail(f"the journal is the channel: {machine.name}'s replays to something else")


def check(world: World) -> None:
    """End the run at the first law that does not hold."""
    for channel in world.wanted:
        _converged(world, channel)
        _ledger(world, channel)
        _paid(world, channel)


def _channels(world: World, channel: ChannelId) -> list[tuple[str, Channel]]:
    found = []
    for machine in world.wanted[channel][1]:
        live = world.live(machine, channel)
        assert live is not None
        found.append((machine.name, live.state))
    return found


def within_limits(world: World, side: Channel) -> None:
    """Nobody's exposure exceeds its policy: judged at each signature, since the market may move what was within it."""
    limit = world.limits.max_exposure
    if limit is not None and (cost := exposure(side).cost) > limit:
        raise LawBroken(f"policy: half-signed states cost up to {cost}, the owner allows {limit}")


def hanging(world: World, name: str, side: Channel) -> None:
    """Nothing exclusive hangs beside another: the history looks at every signature, this at what is left."""
    versions = [
        out.version
        for out in side.outstanding
        if out.version > side.version
        and any(isinstance(operation, EXCLUSIVE) for operation in out.operations)
        and not 0 < out.half.state.valid_until < side.chain.time
    ]
    if len(versions) > 1:
        world.fail(f"policy: {name} has {versions} half-signed at once")


def _converged(world: World, channel: ChannelId) -> None:
    (one_name, one), (other_name, other) = _channels(world, channel)
    states = world.history.agreed[channel]
    best = max(states, default=0)
    for name, side in ((one_name, one), (other_name, other)):
        if side.version < best:
            world.fail(f"nothing agreed is lost: version {best} is agreed, {name} knows {side.version}")
        hanging(world, name, side)
        if side.frozen:
            world.fail(f"nothing is lost: {name} signs nothing any more")
    for what in ("agreed", "closing"):
        if _state(getattr(one, what)) != _state(getattr(other, what)):
            world.fail(f"both sides agree: {what} differs")
    if one.turn != other.turn or one.my_turn == other.my_turn:
        world.fail(f"one side holds the turn: {one.turn} and {other.turn}")


def _state(agreed: Agreed | None) -> State | None:
    return agreed.state if agreed else None


def _ledger(world: World, channel: ChannelId) -> None:
    """Follow the money and the positions through the agreed operations, with other code than the library's."""
    history = world.history
    registered = {
        located.fact.version  # type: ignore[union-attr]
        for block in world.chain.blocks
        for located in block.facts
        if located.channel == channel and type(located.fact).__name__ == "RegisteredSeen"
    }
    cash, deposits, withdrawals = [0, 0], [0, 0], [0, 0]
    legs: tuple[Leg, ...] = ()
    for version, record in sorted(history.agreed[channel].items()):
        state, book = record.agreed.state, record.agreed.book
        expected: list[int] | None = list(cash)
        held = legs
        for operation in record.operations:
            held, expected = _booked(operation, held, expected)
        arrived = [new - old for new, old in zip(state.deposits, deposits, strict=True)]
        left = [new - old for new, old in zip(state.withdrawals, withdrawals, strict=True)]
        if min(arrived + left) < 0 or sum(state.balances) != sum(cash) + sum(arrived) - sum(left):
            world.fail(f"money is conserved: version {version} has {state.balances} after {cash}")
        if expected is not None:
            exact = [expected[p] + arrived[p] - left[p] for p in Party]
            if exact != list(state.balances) or held != book.legs:
                world.fail(f"money goes where it was agreed to go: version {version} has {state.balances}, not {exact}")
        if state.intent is Intent.OPERATE or (state.intent is Intent.REOPEN and version in registered):
            cash, deposits, withdrawals = list(state.balances), list(state.deposits), list(state.withdrawals)
            legs = book.legs


def _booked(
    operation: Operation, legs: tuple[Leg, ...], cash: list[int] | None
) -> tuple[tuple[Leg, ...], list[int] | None]:
    """Return positions and balances after an operation, deposits and withdrawals apart; None where margin decides."""
    match operation:
        case Trade(added, premium):
            legs = net(legs, added)
            cash = [cash[0] - premium, cash[1] + premium] if cash else None
        case SettleExpiry(underlying, expiry, price):
            due = [leg for leg in legs if leg.key[:2] == (underlying, expiry)]
            legs = tuple(leg for leg in legs if leg not in due)
            gain = sum(
                leg.quantity * max(0, price - leg.strike if leg.kind.name == "CALL" else leg.strike - price)
                for leg in due
            )
            tokens = abs(gain) // 10**30 * (1 if gain > 0 else -1)
            cash = [cash[0] + tokens, cash[1] - tokens] if cash else None
        case CloseOut():
            legs, cash = (), None
        case Close(transfer):
            legs = ()
            cash = [cash[0] - transfer, cash[1] + transfer] if cash else None
        case Withdraw() | Acknowledge() | Reopen():
            pass  # their totals are in the state itself
    return legs, cash


def _paid(world: World, channel: ChannelId) -> None:
    """The adjudicator pays what is there, and no state beats a newer one that an honest side holds."""
    account, states = world.chain.account(channel), world.history.agreed[channel]
    if account.pot < 0 or min(account.paid) < 0:
        world.fail(f"money is conserved: the pot is {account.pot}")
    if account.payouts is not None and sum(account.payouts) != account.pot:
        world.fail(f"money is conserved: {account.payouts} is paid out of {account.pot}")
    operating = [v for v, record in states.items() if record.agreed.state.intent is Intent.OPERATE]
    over = account.payouts is not None or 0 < account.deadline <= world.chain.now
    if over and account.version < max(operating, default=0):
        world.fail(f"an old state never wins: {account.version} is final, {max(operating)} was agreed")
