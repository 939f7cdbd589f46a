"""What `channels dispute` says when something is wrong: one line that names it, nothing sent, nothing lost."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from channels.chain.port import ChannelPhase
from channels.store import SqliteStore
from channels.store.instance import FileInstance, Reached
from tests import roles
from tests.integration.dispute_world import Done, World, a_trade, finished, two_trades, world
from tests.pair import Pair, terms_for
from tests.rpc_server import serving


def refused(done: Done, *words: str) -> None:
    """It failed, in one last line on stderr that has these words, and said nothing that it did not do."""
    assert done.status == 1, (done.out, done.err)
    last = done.err.splitlines()[-1]
    assert last.startswith("channels: ") and all(word in last for word in words), done.err


def meddle(w: World, method: str, answer: Any) -> threading.Event:
    """Have the RPC give `answer` (an exception: HTTP is cut) to a method until the returned event is set."""
    over, honest = threading.Event(), w.server.answer

    def meddled(asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["method"] == method and not over.is_set():
            w.server.methods.append(method)
            if isinstance(answer, Exception):
                raise answer
            return {"jsonrpc": "2.0", "id": asked.get("id"), **answer}
        return honest(asked)

    w.server.answer = meddled  # type: ignore[method-assign]  # the one seam at which an endpoint can be made to lie
    return over


@pytest.fixture(scope="module")
def settled_minds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A channel with a trade, that no test of this module moves."""
    with world(tmp_path_factory.mktemp("refusals"), a_trade) as w:
        yield w
        assert w.sent() == 0 and w.status.phase is ChannelPhase.OPEN


def test_the_wrong_chain(settled_minds: World) -> None:
    over = meddle(settled_minds, "eth_chainId", {"result": "0x1"})
    try:
        expected = str(settled_minds.local.deployment.chain_id)
        refused(settled_minds.dispute("--yes"), expected, "chain 1", "nothing was sent")
    finally:
        over.set()


def test_a_strangers_key_and_the_peers(settled_minds: World) -> None:
    refused(settled_minds.dispute("--yes", key=roles.mallory.signer), "a stranger", str(roles.alice.address))
    refused(settled_minds.dispute("--yes", key=roles.bob.signer), "the peer's", str(roles.alice.address))


@pytest.mark.parametrize("secret", ["", "0x1234", "not hex", "f" * 64, "0" * 64])
def test_a_key_that_is_none_is_never_repeated(settled_minds: World, secret: str) -> None:
    done = settled_minds.dispute("--yes", key=secret)
    refused(done, "the signing key cannot be used", "CHANNELS_KEY")
    assert len(secret) < 8 or secret not in done.err + done.out


def test_a_key_file_that_is_none(settled_minds: World, tmp_path: Path) -> None:
    refused(settled_minds.dispute("--key-file", str(tmp_path / "none"), key=None), "No such file")
    (tmp_path / "binary").write_bytes(bytes(range(128, 192)))
    refused(settled_minds.dispute("--key-file", str(tmp_path / "binary"), key=None), "64 hex digits")


def test_a_store_that_a_node_has_open(settled_minds: World) -> None:
    running = SqliteStore.open(settled_minds.store)
    try:
        done = settled_minds.dispute("--yes")
        refused(done, str(settled_minds.store), "open in another process")
        assert "It answers and settles by itself" in done.err
    finally:
        running.close()


def test_stores_that_are_none(settled_minds: World, tmp_path: Path) -> None:
    refused(settled_minds.dispute(store=tmp_path / "none.sqlite"), "there is no store at this path")
    torn = tmp_path / "torn.sqlite"
    torn.write_bytes(settled_minds.store.read_bytes()[:-4096])
    refused(settled_minds.dispute(store=torn), "is damaged")
    empty = tmp_path / "empty.sqlite"
    SqliteStore.open(empty).close()
    refused(settled_minds.dispute(store=empty), "there is no channel in this store")


def test_a_store_without_its_log_is_warned_of_and_used(settled_minds: World, tmp_path: Path) -> None:
    """Somebody at 3 a.m. has the file of a node that died and nothing else: it is better than nothing."""
    running = SqliteStore.open(settled_minds.store)
    try:
        copy = tmp_path / "copy.sqlite"
        copy.write_bytes(settled_minds.store.read_bytes())
    finally:
        running.close()
    done = settled_minds.dispute("--dry-run", store=copy)
    assert done.status == 0
    assert "copy both files" in done.err and "look for the log first" in done.err
    assert "YOUR PROOF" in done.out


def test_a_store_that_ends_before_its_marker_is_warned_of_and_used(settled_minds: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(settled_minds.store.read_bytes())
    marker = FileInstance(copy)
    marker.begin({settled_minds.channel: Reached(99, 99, 99, 99)})
    marker.close()
    done = settled_minds.dispute("--dry-run", store=copy)
    assert done.status == 0
    assert "WARNING" in done.err and "lacks what was written last" in done.err
    assert "YOUR PROOF" in done.out


def test_a_channel_that_is_not_there(settled_minds: World) -> None:
    refused(settled_minds.dispute("--channel", "0xffff"), "no channel 0xffff")
    assert settled_minds.dispute("--channel", settled_minds.channel.hex()[:8], "--dry-run").status == 0


def test_several_channels_are_listed(tmp_path: Path) -> None:
    async def two_channels(pair: Pair) -> None:
        await pair.fund(10, 10)
        await pair.alice.node.open(terms_for(pair.local, b"another"))

    with world(tmp_path, two_channels) as w:
        done = w.dispute("--dry-run")
        refused(done, "2 channels match", "--channel")
        listed = [line.split() for line in done.err.splitlines() if line.startswith("  0x")]
        assert listed[0][0] == f"0x{w.channel.hex()}" and len(listed) == 2
        assert listed[1][1:] == ["nothing", "agreed"]
        assert w.dispute("--dry-run", "--channel", listed[0][0]).status == 0


def test_an_rpc_that_does_not_answer(settled_minds: World) -> None:
    with serving(settled_minds.local) as other:
        gone = other.url
    refused(settled_minds.dispute("--yes", rpc=gone), gone, "does not answer")
    refused(settled_minds.dispute("--yes", rpc="nonsense"), "does not answer")


def test_an_rpc_that_answers_nonsense(settled_minds: World) -> None:
    over = meddle(settled_minds, "eth_getBlockByNumber", {"result": [1, 2, 3]})
    try:
        refused(settled_minds.dispute("--yes"), "makes no sense")
    finally:
        over.set()


def test_without_an_rpc_there_is_a_usage_error(settled_minds: World) -> None:
    done = settled_minds.dispute("--poll", "soon")
    assert done.status == 2 and "--poll" in done.err


def test_a_wallet_without_gas_is_told_what_to_send(tmp_path: Path) -> None:
    with world(tmp_path, a_trade, terms={"owners": (roles.trent.address, roles.bob.address)}) as w:
        done = w.dispute("--yes", key=roles.trent.signer)
        refused(done, str(roles.trent.address), "needs", "wei for gas")
        assert f"ETH to {roles.trent.address}" in " ".join(done.out.split())
        assert w.sent() == 0


def test_an_rpc_that_fails_while_waiting_is_waited_for(tmp_path: Path) -> None:
    with world(tmp_path, two_trades) as w:
        running = w.start("--yes")
        w.phase(ChannelPhase.DISPUTED)
        over = meddle(w, "eth_getBlockByNumber", {"error": {"code": -32000, "message": "overloaded"}})
        seen = len(w.server.methods)
        w.until(lambda: w.server.methods[seen:].count("eth_getBlockByNumber") > 3)
        over.set()
        w.pass_the_deadline()
        w.expire()
        done = finished(running)
        assert done.status == 0 and "trying again" in done.out and "overloaded" in done.out
        assert w.sent() == 2


def test_an_rpc_that_stays_away_ends_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with world(tmp_path, two_trades) as w:
        running = w.start("--yes", "--patience", "1")
        w.until(lambda: w.status.phase is ChannelPhase.DISPUTED)
        over = meddle(w, "eth_getBlockByNumber", {"error": {"code": -32000, "message": "overloaded"}})
        done = finished(running)
        refused(done, "refuses: overloaded")
        assert "Nothing is lost: run the same command again" in done.out
        over.set()
        w.pass_the_deadline()
        w.expire()
        assert w.dispute("--yes").status == 0
        assert w.sent() == 2


def test_a_transaction_that_is_not_mined_in_time_is_not_sent_again(tmp_path: Path) -> None:
    with world(tmp_path, two_trades) as w:
        over = meddle(w, "eth_getTransactionReceipt", {"result": None})
        done = w.dispute("--yes", "--patience", "1")
        refused(done, "is not mined after 1 s", "run the same command again to resume")
        over.set()
        running = w.start("--yes")
        w.phase(ChannelPhase.DISPUTED)
        w.pass_the_deadline()
        w.expire()
        assert finished(running).status == 0
        assert w.sent() == 2


def test_a_call_that_the_contract_keeps_refusing_is_never_sent(tmp_path: Path) -> None:
    with world(tmp_path, two_trades) as w:
        # An endpoint that lies about the phase: everything that follows from it would revert.
        alice = w.client(roles.alice)
        alice.send(alice.challenge(w.terms, w.newest))
        w.pass_the_deadline()
        w.local.set_time(roles.EXPIRY)
        w.local.publish_settlement(roles.ETH, roles.EXPIRY, 2_450 * 10**18)
        honest = w.server.answer

        def frozen(asked: Mapping[str, Any]) -> dict[str, Any]:
            answer = honest(asked)
            settle = asked["method"] == "eth_call" and len(asked["params"][0].get("data", "")) > 2_000
            if settle and asked["params"][0]["from"].lower() == str(roles.alice.address).lower():
                reason = b"adjudicator: not settling"
                words = (32).to_bytes(32, "big") + len(reason).to_bytes(32, "big") + reason.ljust(32, b"\0")
                error = {"code": 3, "message": "execution reverted", "data": "0x08c379a0" + words.hex()}
                return {"jsonrpc": "2.0", "id": asked.get("id"), "error": error}
            return answer

        w.server.answer = frozen  # type: ignore[method-assign]  # as above
        done = w.dispute("--yes")
        refused(done, "was refused by the contract", "adjudicator: not settling")
        assert w.sent() == 0
