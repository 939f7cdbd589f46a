"""Every action and every view of the port, end to end, on the deployed contracts."""

from __future__ import annotations

import pytest

from channels.chain import Call, ChannelPhase, OnChain
from channels.errors import ContractMismatch, InsufficientFunds, RpcRefused, TransactionReverted
from channels.model import EMPTY_BOOK, ZERO32, Address, Intent, Party
from channels.seal import state_digest, state_struct_hash
from channels.units import WAD
from tests.integration.chain_world import CONDOR, DEPOSITS, START, World
from tests.roles import DAY, ETH, HOUR, UNIT, alice, bob, mallory

UNKNOWN = OnChain(ChannelPhase.OPEN, 0, 0, ZERO32, (0, 0), (0, 0))


@pytest.fixture
def world() -> World:
    return World()


def wallet(world: World) -> tuple[int, int]:
    """What the owners hold, in token units."""
    return tuple(world.trent.balance_of(world.local.token, role.owner) for role in (alice, bob))


def test_a_dispute_from_deposit_to_payout(world):
    chain, terms = world.alice, world.terms
    assert chain.status(world.channel) == UNKNOWN
    world.deposit()
    final = world.agreed(3, CONDOR)
    chain.send(chain.checkpoint(terms, world.agreed(1)))
    world.bob.send(world.bob.challenge(terms, world.agreed(2)))
    deadline = chain.head().time + terms.challenge_period
    chain.send(chain.challenge(terms, final))
    registered = state_struct_hash(final.state)
    assert chain.status(world.channel) == OnChain(ChannelPhase.DISPUTED, 3, deadline, registered, DEPOSITS, (0, 0))

    world.local.set_time(deadline)
    assert chain.status(world.channel).phase is ChannelPhase.SETTLING
    settle = world.trent.settle(terms, final.state, CONDOR)
    with pytest.raises(TransactionReverted, match="adjudicator: live leg"):
        world.trent.send(settle)

    world.publish(CONDOR, 2_500)
    assert chain.effective_settlement(terms, ETH, CONDOR.last_expiry) == 2_500 * WAD
    payoff = -5 * 100 * UNIT  # short five 2400 calls at 2500
    due = (DEPOSITS[0] + payoff, DEPOSITS[1] - payoff)
    assert chain.entitlements(terms, final.state, CONDOR) == due
    receipt = world.trent.send(settle)
    assert wallet(world) == due
    assert (receipt.call, receipt.block) == ("settle", chain.head().number)
    assert world.local.gas["settle"] == (receipt.gas_used,)
    closed = chain.status(world.channel)
    assert (closed.phase, closed.version, closed.pot) == (ChannelPhase.CLOSED, 3, 0)


def test_the_status_after_a_block_of_the_past(world):
    """As it was then, in that block's own second, for whoever asks: also one who could not pay for gas."""
    world.deposit()
    paid = world.local.head().number
    world.bob.send(world.bob.challenge(world.terms, world.agreed(2)))
    disputed = world.bob.status(world.channel)
    world.local.set_time(disputed.deadline)
    world.local.mine(3)
    poor = world.local.client(mallory.signer, ether=0)
    assert poor.native_balance(poor.account) == 0
    first, second = DEPOSITS
    before = [poor.status(world.channel, number).deposits for number in range(paid - 4, paid + 1)]
    assert before == [(0, 0), (0, 0), (first, 0), (first, 0), (first, second)]
    assert poor.status(world.channel, paid + 1) == disputed
    assert poor.status(world.channel, paid + 2).phase is ChannelPhase.SETTLING
    assert poor.status(world.channel, world.local.head().number) == poor.status(world.channel)
    with pytest.raises(RpcRefused, match="No block found"):
        poor.status(world.channel, world.local.head().number + 1)
    with pytest.raises(ContractMismatch, match="there is no code"):
        poor.status(world.channel, 0)
    world.bob.send(world.bob.approve(world.terms.token, 1))


def test_nothing_signed_gives_each_its_deposit_back(world):
    world.deposit()
    world.alice.send(world.alice.challenge_unsigned(world.terms))
    world.local.set_time(world.alice.status(world.channel).deadline)
    assert world.alice.entitlements(world.terms, None, EMPTY_BOOK) == DEPOSITS
    world.trent.send(world.trent.settle(world.terms, None, EMPTY_BOOK))
    assert wallet(world) == DEPOSITS


def test_the_registered_state_is_challenged_without_signatures(world):
    world.deposit()
    kept = world.agreed(1)
    world.bob.send(world.bob.checkpoint(world.terms, kept))
    world.alice.send(world.alice.challenge_registered(world.terms, kept.state))
    assert world.alice.status(world.channel).phase is ChannelPhase.DISPUTED


def test_a_cooperative_close(world):
    world.deposit()
    split = (9_000 * UNIT, 6_000 * UNIT)
    final = world.agreed(1, intent=Intent.CLOSE, valid_until=START + DAY, balances=split)
    world.bob.send(world.bob.close(world.terms, final))
    assert wallet(world) == split


def test_a_reopen_ends_a_dispute(world):
    world.deposit()
    world.alice.send(world.alice.challenge(world.terms, world.agreed(1)))
    world.bob.send(world.bob.checkpoint(world.terms, world.agreed(2, intent=Intent.REOPEN, valid_until=START + DAY)))
    now = world.alice.status(world.channel)
    assert (now.phase, now.version, now.deadline) == (ChannelPhase.OPEN, 2, 0)


def test_pin_fixes_the_price_of_an_expired_leg(world):
    world.deposit()
    final = world.agreed(1, CONDOR)
    world.disputed(final)
    pin = world.trent.pin(world.terms, final.state, CONDOR, ETH, CONDOR.last_expiry)
    world.local.set_time(CONDOR.last_expiry + world.terms.grace)
    assert world.trent.effective_settlement(world.terms, ETH, CONDOR.last_expiry) == 0
    with pytest.raises(TransactionReverted, match="adjudicator: no price yet"):
        world.trent.simulate(pin)
    world.local.publish_spot(ETH, 2_100 * WAD)
    world.trent.send(pin)
    assert world.trent.effective_settlement(world.terms, ETH, CONDOR.last_expiry) == 2_100 * WAD


def test_pay_sends_a_withdrawal_that_a_missing_deposit_blocked(world):
    alone = world.alice
    alone.send(alone.deposit(world.terms, Party.ZERO, DEPOSITS[0]))
    taken = (9_000 * UNIT, 5_000 * UNIT)
    paid = world.agreed(1, withdrawals=(1_000 * UNIT, 0), balances=taken)
    alone.send(alone.checkpoint(world.terms, paid))
    assert alone.status(world.channel).paid == (0, 0)
    world.bob.send(world.bob.deposit(world.terms, Party.ONE, DEPOSITS[1]))
    world.trent.send(world.trent.pay(world.terms, paid.state))
    assert alone.status(world.channel).paid == (1_000 * UNIT, 0)
    assert wallet(world) == (1_000 * UNIT, 0)


def test_last_resort_pays_when_the_book_is_lost(world):
    world.deposit()
    final = world.agreed(1, CONDOR)
    world.disputed(final)
    rescue = world.trent.last_resort(world.terms, final.state)
    first = world.terms.last_resort + world.terms.challenge_period + 2 * world.terms.grace
    world.local.set_time(first - 1, mine=False)
    with pytest.raises(TransactionReverted, match="adjudicator: too early"):
        world.trent.send(rescue)
    world.local.set_time(first, mine=False)
    world.trent.send(rescue)
    assert wallet(world) == DEPOSITS


def test_claim_reaches_the_contract(world):
    assert world.alice.claimable(world.local.token, alice.owner) == 0
    with pytest.raises(TransactionReverted, match="adjudicator: nothing to claim") as refused:
        world.alice.send(world.alice.claim(world.local.token, alice.owner))
    assert (refused.value.call, refused.value.reason) == ("claim", "adjudicator: nothing to claim")


def test_a_deposit_approves_exactly_what_is_missing(world):
    chain, token = world.alice, world.local.token
    chain.send(chain.deposit(world.terms, Party.ZERO, 7 * UNIT))
    assert chain.allowance(token, chain.account) == 0
    chain.send(chain.approve(token, 3 * UNIT))
    approvals = len(world.local.gas["approve"])
    chain.send(chain.deposit(world.terms, Party.ZERO, 3 * UNIT))
    assert len(world.local.gas["approve"]) == approvals
    chain.send(chain.approve(token, 2 * UNIT))
    chain.send(chain.deposit(world.terms, Party.ZERO, 5 * UNIT))
    # One by hand, one to zero (some tokens demand it), one to what is needed.
    assert len(world.local.gas["approve"]) == approvals + 3
    assert chain.allowance(token, chain.account) == 0
    assert chain.status(world.channel).deposits == (15 * UNIT, 0)


def test_token_and_native_views(world):
    token, chain = world.local.token, world.alice
    assert (chain.decimals(token), chain.symbol(token)) == (6, "USDC")
    assert chain.balance_of(token, chain.account) == 20_000 * UNIT
    assert chain.native_balance(chain.account) == 100 * WAD
    before = chain.native_balance(chain.account)
    receipt = chain.send(chain.approve(token, 1))
    assert chain.native_balance(chain.account) == before - receipt.fee
    assert 0 < receipt.fee <= receipt.gas_used * chain.gas_price()
    assert chain.account == alice.address
    assert (chain.chain_id, chain.deployment) == (world.local.deployment.chain_id, world.local.deployment)


def test_digest_and_channel_id_are_the_contracts(world):
    """The same bytes on both sides, over the client's own encoding of terms and states."""
    signed = world.state(7, CONDOR, balances=(-UNIT, 15_001 * UNIT))
    view = world.alice._view  # type: ignore[attr-defined]  # the port has no use for these two views
    from channels.chain.encode import state_tuple, terms_tuple

    assert view("channel_id", terms_tuple(world.terms)) == (world.channel,)
    digest = state_digest(world.local.deployment, signed)
    assert view("digest", state_tuple(world.channel, signed)) == (digest,)


def test_too_few_tokens_is_told_before_anything_is_sent(world):
    nonce = len(world.local.gas.get("approve", ()))
    with pytest.raises(InsufficientFunds) as short:
        world.trent.send(world.trent.deposit(world.terms, Party.ZERO, UNIT))
    assert (short.value.needs, short.value.has) == (UNIT, 0)
    assert "USDC" in str(short.value)
    assert len(world.local.gas.get("approve", ())) == nonce


def test_too_little_for_gas_is_told_before_anything_is_sent(world):
    poor = world.local.client(mallory.signer, ether=0)
    head = poor.head()
    with pytest.raises(InsufficientFunds) as short:
        poor.send(poor.approve(world.local.token, 1))
    assert (short.value.address, short.value.has) == (str(mallory.address), 0)
    assert short.value.needs > 0
    assert poor.head() == head


def test_estimates_are_enough_and_refusals_carry_the_reason(world):
    chain, terms = world.alice, world.terms
    deposit = chain.deposit(terms, Party.ZERO, UNIT)
    assert chain.estimate(deposit) > 100_000  # with the approval it lacks
    world.deposit()
    assert chain.estimate(chain.challenge_unsigned(terms)) >= 600_000
    assert 40_000 < chain.estimate(chain.approve(world.local.token, 1)) < 100_000
    stale = chain.checkpoint(terms, world.agreed(1))
    chain.send(stale)
    for act in (chain.simulate, chain.estimate, chain.send):
        with pytest.raises(TransactionReverted, match=r"checkpoint was refused .* adjudicator: stale version"):
            act(stale)


def test_code_is_compared_with_the_shipped_artifact(world):
    chain = world.alice
    for address, name in (
        (world.local.deployment.adjudicator, "Adjudicator"),
        (world.local.source, "SignedPriceSource"),
        (world.local.token, "TestToken"),
    ):
        chain.verify_code(address, name)
    with pytest.raises(ContractMismatch, match="not that of the shipped Adjudicator"):
        chain.verify_code(world.local.token, "Adjudicator")
    with pytest.raises(ContractMismatch, match="no code"):
        chain.verify_code(alice.address, "Adjudicator")


def test_views_of_something_that_is_no_contract(world):
    with pytest.raises(ContractMismatch, match="no code"):
        world.alice.decimals(alice.address)
    with pytest.raises(ContractMismatch, match="no code"):
        world.alice.balance_of(Address(b"\1" * 20), alice.address)


def test_a_call_is_a_value(world):
    built = world.alice.claim(world.local.token, alice.owner)
    assert built == world.bob.claim(world.local.token, alice.owner)
    assert isinstance(built, Call) and built.to == world.local.deployment.adjudicator


def test_the_boundary_second_of_a_deadline(world):
    world.deposit()
    world.alice.send(world.alice.challenge(world.terms, world.agreed(1)))
    deadline = world.alice.status(world.channel).deadline
    world.local.set_time(deadline - 1, mine=False)
    world.bob.send(world.bob.challenge(world.terms, world.agreed(2)))
    assert world.bob.head().time == deadline - 1
    with pytest.raises(TransactionReverted, match="adjudicator: deadline passed"):
        world.local.set_time(deadline, mine=False)
        world.bob.send(world.bob.challenge(world.terms, world.agreed(3)))


def test_settlement_is_reported_once_by_enough_publishers(world):
    world.local.set_time(CONDOR.last_expiry)
    world.local.publish_settlement(ETH, CONDOR.last_expiry, 2_000 * WAD)
    with pytest.raises(TransactionReverted, match="source: already settled"):
        world.local.publish_settlement(ETH, CONDOR.last_expiry, 2_001 * WAD)
    with pytest.raises(TransactionReverted, match="source: not expired"):
        world.local.publish_settlement(ETH, world.local.now + HOUR, 2_000 * WAD)
