"""A payment that could not be pushed waits in the contract, and `channels dispute` claims it when the token lets it."""

from __future__ import annotations

from pathlib import Path

import trio
from vyper import compile_code

from channels.chain.abi import abi_of
from channels.chain.account import KeyAccount
from channels.chain.local import LocalChain
from channels.chain.port import ChannelPhase
from channels.model import Address, Terms, keccak
from tests import roles
from tests.integration.dispute_world import finished, world
from tests.pair import Pair, terms_for

BLOCKLIST_TOKEN = """
# pragma version 0.4.3
decimals: public(uint8)
symbol: public(String[8])
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
blocked: public(address)

@deploy
def __init__():
    self.decimals = 6
    self.symbol = "BLK"

@external
def block_account(account: address):
    self.blocked = account

@external
def mint(account: address, amount: uint256):
    self.balanceOf[account] += amount

@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True

@external
def transfer(to: address, amount: uint256) -> bool:
    assert to != self.blocked, "blocked"
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[to] += amount
    return True

@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    self.allowance[owner][msg.sender] -= amount
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount
    return True
"""


class Token:
    """A token whose issuer may refuse one recipient, as issuers of stablecoins do."""

    def __init__(self, local: LocalChain) -> None:
        made = compile_code(BLOCKLIST_TOKEN, output_formats=["bytecode"])
        self._faucet, self._provider = KeyAccount(local.faucet), local.provider
        code = bytes.fromhex(made["bytecode"].removeprefix("0x"))
        self.address = Address(self._provider.transact(self._faucet, None, data=code)["contractAddress"])

    def mint(self, to: Address, amount: int) -> None:
        self._provider.transact(self._faucet, self.address, data=abi_of("TestToken").call_data("mint", to, amount))

    def block(self, account: Address) -> None:
        selector = keccak(b"block_account(address)")[:4]
        self._provider.transact(self._faucet, self.address, data=selector + account.word)


def test_a_blocked_payment_is_claimed_as_soon_as_the_token_allows(tmp_path: Path) -> None:
    trusted = {LocalChain(roles.NOW).token: 6}  # the embedded chain's addresses are always the same
    made: list[tuple[Token, Terms]] = []

    async def with_a_hostile_token(pair: Pair) -> None:
        token = await trio.to_thread.run_sync(Token, pair.local)
        trusted[token.address] = 6
        terms = terms_for(pair.local, b"blocklist", token=token.address)
        channel = await pair.alice.node.open(terms)
        token.mint(roles.alice.address, 100 * roles.UNIT)
        await channel.deposit(100)
        made.append((token, terms))

    nodes = {"tokens": trusted, "housekeeping": False}
    with world(tmp_path, with_a_hostile_token, alice_config=nodes, bob_config=nodes) as w:
        token, terms = made[0]
        channel = terms.channel_id(w.local.deployment)
        which = ("--yes", "--channel", f"0x{channel.hex()}")
        alice = w.client(roles.alice)

        running = w.start(*which)
        w.until(lambda: alice.status(channel).phase is ChannelPhase.DISPUTED)
        token.block(roles.alice.address)
        w.local.set_time(alice.status(channel).deadline)
        refused = finished(running)
        assert refused.status == 1 and "claim was refused by the contract" in refused.err
        assert alice.status(channel).phase is ChannelPhase.CLOSED
        assert alice.claimable(token.address, roles.alice.address) == 100 * roles.UNIT
        assert alice.balance_of(token.address, roles.alice.address) == 0
        sent = w.sent()

        token.block(roles.mallory.address)
        done = w.dispute(*which)
        assert done.status == 0 and "claim what a failed payment left behind" in done.out
        assert alice.balance_of(token.address, roles.alice.address) == 100 * roles.UNIT
        assert w.sent() == sent + 1
