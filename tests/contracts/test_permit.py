"""`deposit_with_permit`: a top-up in one transaction, and a permit that somebody else presented first hurts nobody."""

from dataclasses import dataclass, replace
from typing import Any

import eth_abi
import pytest
from eth_hash.auto import keccak

from tests.contracts.encoding import ORDER, Key
from tests.contracts.evm import STRANGER, Receipt, Reverted
from tests.contracts.margin_world import STAKES, MarginWorld, called, lacking, short_calls
from tests.contracts.refusals import refused
from tests.contracts.world import HOUR, UNIT, Channel

PERMIT = keccak(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
PAYER = Key(77)


@dataclass(frozen=True, slots=True)
class Permit:
    """An EIP-2612 permit and its signature."""

    owner: str
    spender: str
    amount: int
    deadline: int
    v: int
    r: bytes
    s: bytes


@pytest.fixture
def world() -> MarginWorld:
    return MarginWorld(token="PermitToken")


@pytest.fixture
def channel(world: MarginWorld) -> Channel:
    channel = world.margined(STAKES)
    channel.token.transact("mint", PAYER.address, 100_000 * UNIT)
    return channel


def permit(channel: Channel, amount: int, key: Key = PAYER, **changes: Any) -> Permit:
    """Sign a permit of `key` for the adjudicator, or one with `changes`."""
    token, now = channel.token, channel.world.chain.now
    said = Permit(key.address, channel.world.adjudicator.address, amount, now + HOUR, 0, b"", b"")
    said = replace(said, **changes)
    nonce = token.call("nonces", said.owner)
    fields = (PERMIT, said.owner, said.spender, said.amount, nonce, said.deadline)
    types = ["bytes32", "address", "address", "uint256", "uint256", "uint256"]
    digest = keccak(b"\x19\x01" + token.call("DOMAIN_SEPARATOR") + keccak(eth_abi.encode(types, fields)))
    signature = key.sign(digest)
    return replace(said, v=signature[64], r=signature[:32], s=signature[32:64])


def deposit(channel: Channel, said: Permit, party: int = 0, amount: int | None = None, sender: str = "") -> Receipt:
    """Deposit with a permit, by default as its owner."""
    what = said.amount if amount is None else amount
    return channel.send(
        "deposit_with_permit", party, what, said.deadline, said.v, said.r, said.s, sender=sender or said.owner
    )


def present(channel: Channel, said: Permit) -> Receipt:
    """Present a permit to the token, as anyone may who sees it pending."""
    fields = (said.owner, said.spender, said.amount, said.deadline, said.v, said.r, said.s)
    return channel.token.transact("permit", *fields, sender=STRANGER)


def allowance(channel: Channel) -> int:
    """What the adjudicator may take of the payer's tokens."""
    left: int = channel.token.call("allowance", PAYER.address, channel.world.adjudicator.address)
    return left


@pytest.mark.parametrize("party", [0, 1])
def test_a_permit_and_a_deposit_are_one_transaction(channel: Channel, party: int) -> None:
    assert allowance(channel) == 0
    receipt = deposit(channel, permit(channel, 300 * UNIT), party)
    total = STAKES[party] + 300 * UNIT
    expected = {"channel": channel.id, "party": party, "amount": 300 * UNIT, "total": total}
    assert receipt.one("Deposited") == expected
    assert channel.status().deposits[party] == total
    assert channel.world.balance(PAYER.address) == 99_700 * UNIT
    assert (allowance(channel), channel.token.call("nonces", PAYER.address)) == (0, 1)


def test_a_permit_is_used_once(channel: Channel) -> None:
    said = permit(channel, 300 * UNIT)
    deposit(channel, said)
    with refused("token: transfer refused"):
        deposit(channel, said)


def test_a_front_run_permit_does_not_revert_the_deposit(channel: Channel) -> None:
    said = permit(channel, 300 * UNIT)
    present(channel, said)
    with pytest.raises(Reverted):
        present(channel, said)
    deposit(channel, said)
    assert channel.status().deposits[0] == STAKES[0] + 300 * UNIT


def test_permit_front_run_does_not_revert_a_cure(channel: Channel) -> None:
    """The called side tops up by permit; whoever wants its liquidation presents the permit first, and gains nothing."""
    state = short_calls(channel)
    channel.checkpoint(state)
    called(channel, state)
    said = permit(channel, lacking(channel, state))
    present(channel, said)
    deposit(channel, said)
    channel.cure(state, 0)
    assert channel.status().cure_deadlines == (0, 0)


WRONG: dict[str, dict[str, Any]] = {
    "amount": {"amount": 299 * UNIT},
    "spender": {"spender": STRANGER},
    "expired": {"deadline": 1},
}


@pytest.mark.parametrize("what", [*WRONG, "signer", "noise", "token"])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_permit_that_fails_leaves_it_to_the_allowance(channel: Channel, what: str, allowed: bool) -> None:
    amount = 300 * UNIT
    said = permit(channel, **{"amount": amount} | WRONG.get(what, {}))
    if what == "signer":
        said = replace(permit(channel, amount, Key(78)), owner=PAYER.address)
    if what == "noise":
        said = replace(said, v=3, r=b"\xff" * 32, s=ORDER.to_bytes(32, "big"))
    if what == "token":  # signed for another token
        twin = Channel(channel.world, channel.terms, channel.keys, channel.world.deploy_token("PermitToken"))
        said = permit(twin, amount)
    if allowed:
        adjudicator = channel.world.adjudicator.address
        channel.token.transact("approve", adjudicator, amount, sender=PAYER.address)
        deposit(channel, said, amount=amount)
        assert channel.status().deposits[0] == STAKES[0] + amount
    else:
        with refused("token: transfer refused"):
            deposit(channel, said, amount=amount)
        assert channel.status().deposits == STAKES


def test_nobody_deposits_with_somebody_elses_permit(channel: Channel) -> None:
    """The permit's owner is whoever calls: a permit seen pending opens no way to another's tokens."""
    said = permit(channel, 300 * UNIT)
    for sender in (STRANGER, channel.terms.signers[1]):
        with refused("token: transfer refused"):
            deposit(channel, said, sender=sender)
    present(channel, said)
    with refused("token: transfer refused"):
        deposit(channel, said, sender=STRANGER)
    assert channel.world.balance(PAYER.address) == 100_000 * UNIT


@pytest.mark.parametrize("token", ["TestToken", "NoReturnToken", "RevertingToken"])
def test_a_token_without_permits_goes_by_its_allowance(token: str) -> None:
    world = MarginWorld(token=token)
    channel = world.margined(STAKES)
    channel.token.transact("mint", PAYER.address, 10 * UNIT)
    said = Permit(PAYER.address, "", UNIT, world.chain.now, 27, b"r" * 32, b"s" * 32)
    with refused("token: transfer refused"):
        deposit(channel, said)
    channel.token.transact("approve", world.adjudicator.address, UNIT, sender=PAYER.address)
    deposit(channel, said)
    assert channel.status().deposits == (STAKES[0] + UNIT, STAKES[1])


def test_the_rules_of_a_deposit_hold(channel: Channel) -> None:
    world = channel.world
    for party, amount, reason in (
        (2, UNIT, "adjudicator: no such party"),
        (0, 0, "adjudicator: zero amount"),
        (0, 2**120, "adjudicator: deposit too large"),
    ):
        with refused(reason):
            deposit(channel, permit(channel, amount), party)
    bad = world.channel(cure_period=1)
    with refused("terms: cure period"):
        deposit(bad, permit(bad, UNIT))
    deposit(fresh := world.channel(), permit(fresh, UNIT))
    assert fresh.status().deposits == (UNIT, 0)
    channel.close(channel.closing(1))
    with refused("adjudicator: closed"):
        deposit(channel, permit(channel, UNIT))
    assert allowance(channel) == 0
