"""A payout that the token refuses waits for `claim`, and the other party does not wait with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from vyper import compile_code

from channels.chain import Call
from channels.chain.account import KeyAccount
from channels.core.facts import ClosedSeen
from channels.errors import TransactionReverted
from channels.model import ZERO_ADDRESS, Address, Intent, keccak
from channels.model.identity import word
from tests.integration.chain_world import DEPOSITS, START, World
from tests.roles import DAY, alice, bob

PICKY = """
# pragma version 0.4.3
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
blacklisted: public(address)

@external
def mint(owner: address, amount: uint256):
    self.balanceOf[owner] += amount

@external
def blacklist(owner: address):
    self.blacklisted = owner

@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True

@external
def transfer(receiver: address, amount: uint256) -> bool:
    assert receiver != self.blacklisted
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[receiver] += amount
    return True

@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    self.allowance[owner][msg.sender] -= amount
    self.balanceOf[owner] -= amount
    self.balanceOf[receiver] += amount
    return True
"""


@pytest.fixture(scope="module")
def creation_code() -> bytes:
    return bytes.fromhex(compile_code(PICKY, output_formats=["bytecode"])["bytecode"][2:])


def test_a_refused_payout_is_claimed_later(creation_code):
    world = World()
    made = world.local.provider.transact(KeyAccount(world.local.faucet), None, data=creation_code)
    token = Address(made["contractAddress"])

    def tell(name: str, *words: bytes) -> Call:
        return Call(name.partition("(")[0], token, keccak(name.encode())[:4] + b"".join(words))

    for role, amount in zip((alice, bob), DEPOSITS, strict=True):
        world.trent.send(tell("mint(address,uint256)", role.address.word, word(amount)))
    world.terms = replace(world.terms, token=token)
    world.channel = world.terms.channel_id(world.local.deployment)
    world.deposit()

    world.trent.send(tell("blacklist(address)", alice.owner.word))
    final = world.agreed(1, intent=Intent.CLOSE, valid_until=START + DAY)
    closed = world.bob.send(world.bob.close(world.terms, final))
    assert [seen.fact for seen in world.trent.facts(closed.block, closed.block)] == [ClosedSeen(DEPOSITS)]
    assert world.trent.balance_of(token, bob.owner) == DEPOSITS[1]
    assert world.trent.claimable(token, alice.owner) == DEPOSITS[0]

    claim = world.trent.claim(token, alice.owner)
    with pytest.raises(TransactionReverted, match="token: transfer refused"):
        world.trent.send(claim)
    world.trent.send(tell("blacklist(address)", ZERO_ADDRESS.word))
    world.trent.send(claim)
    assert world.trent.balance_of(token, alice.owner) == DEPOSITS[0]
    assert world.trent.claimable(token, alice.owner) == 0
