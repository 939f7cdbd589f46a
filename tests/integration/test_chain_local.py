"""The embedded chain's own promises: its clock, its money, its publishers, and that it starts at once."""

from __future__ import annotations

import sys
import threading
import time

import pytest
from eth_account import Account

from channels.chain import Block
from channels.chain.local import START_TIME, LocalChain
from channels.errors import InvalidValue, MissingExtra, TransactionReverted
from channels.model import Party
from channels.seal import Signer
from channels.units import WAD
from tests.integration.chain_world import START, World
from tests.roles import DAY, ETH, HOUR, UNIT, alice, trent


@pytest.fixture
def local() -> LocalChain:
    return LocalChain(START)


def test_the_clock_stands_still_until_it_is_moved(local):
    now = local.now
    assert local.head().time == now
    time.sleep(1.1)
    assert (local.now, local.head().time) == (now, now)


def test_it_starts_when_it_is_told_to():
    assert START_TIME <= LocalChain().now < START_TIME + 60
    assert START <= LocalChain(START).now < START + 60
    future = 4_102_444_800
    local = LocalChain(future)
    client = local.client(alice.signer)
    client.send(client.approve(local.token, 1))
    assert future <= local.head().time < future + 60


def test_watchers_see_time_pass(local):
    watcher = local.client(trent.signer)
    before = watcher.head()
    assert local.advance(DAY) == Block(before.number + 1, before.time + DAY)
    assert watcher.head() == local.head() == watcher.block(before.number + 1)
    assert watcher.block(before.number) == before


def test_a_transaction_takes_a_second_or_the_time_that_was_set(local):
    client = local.client(alice.signer)
    before = local.now
    client.send(client.approve(local.token, 1))
    assert local.now == local.head().time == before + 1
    local.set_time(before + HOUR, mine=False)
    assert (local.now, local.head().time) == (before + HOUR, before + 1)
    client.send(client.approve(local.token, 2))
    assert local.now == local.head().time == before + HOUR


def test_calls_see_the_virtual_time_before_a_block_does(local):
    expiry = local.now + HOUR
    client = local.client(trent.signer)
    with pytest.raises(TransactionReverted, match="source: not expired"):
        local.publish_settlement(ETH, expiry, WAD)
    local.set_time(expiry, mine=False)
    local.publish_settlement(ETH, expiry, WAD)
    assert local.head().time == expiry
    assert client.head().time == expiry


def test_time_never_goes_back(local):
    with pytest.raises(InvalidValue, match="already shows"):
        local.set_time(local.now - 1)
    assert local.set_time(local.now) == local.head()


def test_blocks_are_mined_a_second_apart(local):
    before = local.head()
    assert local.mine(5) == Block(before.number + 5, before.time + 5)


def test_one_client_per_address_and_one_purse(local):
    first = local.client(alice.signer, ether=2, tokens=5 * UNIT)
    assert local.client(alice.signer, ether=2, tokens=5 * UNIT) is first
    assert first.native_balance(alice.address) == 2 * WAD
    assert first.balance_of(local.token, alice.address) == 5 * UNIT
    local.fund(alice.owner, ether=1, tokens=7)
    assert first.native_balance(alice.owner) == WAD
    assert first.balance_of(local.token, alice.owner) == 7


def test_an_eth_account_signs_as_well(local):
    account = Account.from_key(b"\x07" * 32)
    client = local.client(account)
    assert client.account == Signer(b"\x07" * 32).address
    client.send(client.approve(local.token, 5))
    assert client.allowance(local.token, client.account) == 5


def test_a_spot_is_signed_by_enough_publishers(local):
    local.publish_spot(ETH, 2_000 * WAD)
    local.advance(HOUR)
    observed = local.now - 10
    local.publish_spot(ETH, 3_000 * WAD, observed)
    with pytest.raises(TransactionReverted, match="source: not newer"):
        local.publish_spot(ETH, 3_000 * WAD, observed)
    with pytest.raises(TransactionReverted, match="source: report too old"):
        local.publish_spot(ETH, 3_000 * WAD, local.now - 31)
    local.threshold = 1
    with pytest.raises(TransactionReverted, match="source: too few signatures"):
        local.publish_spot(ETH, 3_000 * WAD)


def test_tokens_of_other_decimals():
    local = LocalChain(START, symbol="DAI", decimals=18)
    client = local.client(alice.signer)
    assert (client.symbol(local.token), client.decimals(local.token)) == ("DAI", 18)


def test_clients_in_many_threads_do_not_collide():
    world = World()
    failures: list[BaseException] = []

    def pay_in(chain, party):
        try:
            for _ in range(5):
                chain.send(chain.deposit(world.terms, party, UNIT))
                chain.facts(0, chain.head().number)
        except BaseException as failure:
            failures.append(failure)

    pairs = ((world.alice, Party.ZERO), (world.alice, Party.ZERO), (world.bob, Party.ONE))
    threads = [threading.Thread(target=pay_in, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert world.trent.status(world.channel).deposits == (10 * UNIT, 5 * UNIT)


def test_gas_is_recorded_per_entry_point():
    world = World()
    world.deposit()
    used = world.local.gas["deposit"]
    assert len(used) == 2 and used[0] > used[1] > 21_000
    assert set(world.local.gas) == {"approve", "deposit"}


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "channels.chain.evm", raising=False)
    monkeypatch.setitem(sys.modules, "eth_tester", None)
    with pytest.raises(MissingExtra, match=r"pip install 'option-channels\[local\]'"):
        LocalChain()


def test_a_chain_starts_at_once():
    started = time.perf_counter()
    for _ in range(5):
        LocalChain(START)
    assert (time.perf_counter() - started) / 5 < 1.0
