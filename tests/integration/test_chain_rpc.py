"""A client over real sockets: the embedded chain served as JSON-RPC, and every way an endpoint can fail."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from eth_abi import encode

from channels.chain.account import KeyAccount
from channels.chain.client import Web3Chain
from channels.chain.submit import SubmitPolicy
from channels.core.facts import ClosedSeen
from channels.errors import (
    InsufficientFunds,
    RpcRefused,
    RpcUnavailable,
    TransactionPending,
    TransactionReverted,
    WrongChain,
)
from channels.model import Party
from tests.integration.chain_world import CONDOR, DEPOSITS, World
from tests.roles import UNIT, alice, mallory
from tests.rpc_server import serving

TIMEOUT = 0.5
ACCOUNT = KeyAccount(alice.signer)


@pytest.fixture
def world() -> World:
    return World()


def remote(url: str, world: World, account: KeyAccount = ACCOUNT) -> Web3Chain:
    return Web3Chain.connect(url, world.local.deployment, account, timeout=5.0, policy=SubmitPolicy(patience=2.0))


def test_a_channel_from_deposit_to_payout_over_http(world):
    with serving(world.local) as server:
        chain = remote(server.url, world)
        chain.send(chain.deposit(world.terms, Party.ZERO, DEPOSITS[0]))
        world.bob.send(world.bob.deposit(world.terms, Party.ONE, DEPOSITS[1]))
        final = world.agreed(1, CONDOR)
        chain.send(chain.challenge(world.terms, final))
        world.local.set_time(chain.status(world.channel).deadline)
        with pytest.raises(TransactionReverted, match="adjudicator: live leg"):
            chain.send(chain.settle(world.terms, final.state, CONDOR))
        world.publish(CONDOR, 2_450)
        due = chain.entitlements(world.terms, final.state, CONDOR)
        receipt = chain.send(chain.settle(world.terms, final.state, CONDOR))
        assert chain.facts(receipt.block, receipt.block)[0].fact == ClosedSeen(due)
        assert chain.facts(0, receipt.block) == world.alice.facts(0, receipt.block)
        assert chain.balance_of(world.local.token, alice.owner) == due[0]
        chain.verify_code(world.local.deployment.adjudicator, "Adjudicator")
        assert chain.head() == world.alice.head()
        assert chain.block(3) == world.alice.block(3)
        assert chain.gas_price() > 0
        assert receipt.call == "settle"


def test_the_endpoint_is_named_without_its_keys(world):
    chain = Web3Chain.connect("https://user:secret@rpc.example:8545/v3/key?token=t", world.local.deployment, ACCOUNT)
    assert chain.endpoint == "https://rpc.example:8545"


def test_the_wrong_chain_is_found_out_before_anything_is_sent(world):
    elsewhere = replace(world.local.deployment, chain_id=1)
    with serving(world.local) as server:
        chain = Web3Chain.connect(server.url, elsewhere, ACCOUNT)
        with pytest.raises(WrongChain) as wrong:
            chain.send(chain.deposit(world.terms, Party.ZERO, UNIT))
        assert (wrong.value.expected, wrong.value.got) == (1, world.local.deployment.chain_id)
        assert server.methods == ["eth_chainId"]


def test_a_wallet_without_gas_over_http(world):
    with serving(world.local) as server:
        chain = remote(server.url, world, KeyAccount(mallory.signer))
        with pytest.raises(InsufficientFunds):
            chain.send(chain.approve(world.local.token, 1))
        assert "eth_sendRawTransaction" not in server.methods


# Endpoints that fail


@contextmanager
def endpoint(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """A loopback socket that does `behave` with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_connections: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_connections.append(connection)
            threading.Thread(target=_quietly, args=(behave, connection), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_connections:
            connection.close()
        thread.join()


def _quietly(behave: Callable[[socket.socket], None], connection: socket.socket) -> None:
    try:
        behave(connection)
    except OSError:
        connection.close()


def http(body: bytes, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def replying(reply: bytes) -> Callable[[socket.socket], None]:
    """Answer every request with the same bytes."""

    def behave(connection: socket.socket) -> None:
        while connection.recv(65_536):
            connection.sendall(reply)

    return behave


def dripping(connection: socket.socket) -> None:
    """Answer a byte at a time, for ever: no single read ever times out."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


def silent(connection: socket.socket) -> None:
    """Read and say nothing."""
    while connection.recv(65_536):
        pass


def closing(connection: socket.socket) -> None:
    """Read and hang up."""
    connection.recv(65_536)
    connection.close()


def rpc(result: object) -> bytes:
    return http(json.dumps({"jsonrpc": "2.0", "id": 0, "result": result}).encode())


HTML = b"<html><body>502 Bad Gateway</body></html>"
FAILING = {
    "silent": (silent, "no answer within 0.5 s"),
    "dripping": (dripping, "no answer within 0.5 s"),
    "closing": (closing, "no connection"),
    "html": (replying(http(HTML, kind="text/html")), "not JSON"),
    "http 500": (replying(http(HTML, "500 Internal Server Error", "text/html")), "HTTP status 500"),
    "redirect": (replying(http(b"", "302 Found", "text/html", "Location: http://127.0.0.1:1/\r\n")), "status 302"),
    "a list": (replying(http(b"[]")), "not JSON-RPC"),
    "no result": (replying(http(b"{}")), "not JSON-RPC"),
    "a number": (replying(http(b"7")), "not JSON-RPC"),
    "not utf-8": (replying(http(b"\xff\xfe\xfd")), "not JSON"),
    "deep nesting": (replying(http(b"[" * 200_000)), "not JSON"),
    "error as text": (replying(http(b'{"jsonrpc":"2.0","id":0,"error":"no"}')), "not JSON-RPC"),
    "nonsense result": (replying(rpc({"chain": "id"})), "makes no sense"),
    "text for a number": (replying(rpc("mainnet")), "makes no sense"),
    "null": (replying(rpc(None)), "makes no sense"),
    "not http": (replying(b"SSH-2.0-OpenSSH_9.6\r\n"), "no connection"),
}


@pytest.mark.parametrize("name", FAILING)
def test_an_endpoint_that_fails_is_one_typed_error_in_time(world, name):
    behave, detail = FAILING[name]
    with endpoint(behave) as url:
        # Who says nothing costs its time; who answers may take its own on a busy machine.
        timeout = TIMEOUT if "no answer" in detail else 10.0
        chain = Web3Chain.connect(url, world.local.deployment, ACCOUNT, timeout=timeout)
        started = time.monotonic()
        for ask in (chain.head, lambda: chain.send(chain.approve(world.local.token, 1))):
            with pytest.raises(RpcUnavailable) as failure:
                ask()
            assert failure.value.endpoint == url
            assert detail in failure.value.detail
        assert time.monotonic() - started < 2 * (timeout + 10), "it drips for hours"


def test_a_closed_port(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    chain = Web3Chain.connect(url, world.local.deployment, ACCOUNT, timeout=TIMEOUT)
    with pytest.raises(RpcUnavailable, match="no connection"):
        chain.status(world.channel)


def test_an_answer_without_end_is_cut_off(world, monkeypatch):
    monkeypatch.setattr("channels.chain.rpc.MAX_ANSWER_BYTES", 10_000)
    with endpoint(replying(http(b" " * 20_000))) as url:
        chain = Web3Chain.connect(url, world.local.deployment, ACCOUNT, timeout=10.0)
        with pytest.raises(RpcUnavailable, match="exceeds 10000 bytes"):
            chain.head()


# Endpoints that answer, but not what was hoped for


@contextmanager
def twisted(world: World, twist: Callable[[str, dict[str, object]], dict[str, object] | None]) -> Iterator[Web3Chain]:
    """The embedded chain over HTTP, with some answers replaced by `twist(method, request)`."""
    with serving(world.local) as server:
        honest = server.answer
        server.answer = lambda asked: twist(asked["method"], asked) or honest(asked)  # type: ignore[method-assign]
        yield remote(server.url, world)


def error(message: str, code: int = -32_000, data: object = None) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 0, "error": {"code": code, "message": message, "data": data}}


def only(method: str, answer: dict[str, object]) -> Callable[[str, dict[str, object]], dict[str, object] | None]:
    return lambda asked, _: answer if asked == method else None


def test_a_node_that_says_no(world):
    no = only("eth_getLogs", error("query returned more than 10000 results"))
    with twisted(world, no) as chain, pytest.raises(RpcRefused, match="refuses: query returned more than 10000"):
        chain.facts(0, 1)


def test_a_node_that_has_forgotten_a_block(world):
    """Its newest state is there; what it says of an older one is no revert and no answer."""
    world.deposit()
    paid, asked = world.local.head().number, list[object]()
    missing = {"code": -32_000, "message": "missing trie node 0xab (path ) state 0xab is not available"}
    forgotten: dict[str, object] = {"jsonrpc": "2.0", "id": 0, "error": missing}

    def pruned(method: str, request: dict[str, object]) -> dict[str, object] | None:
        if method != "eth_call":
            return None
        asked.append(request["params"][1])  # type: ignore[index]
        return None if asked[-1] == "latest" else forgotten

    with serving(world.local) as server:
        assert remote(server.url, world).status(world.channel, paid).deposits == DEPOSITS
        assert remote(server.url, world).status(world.channel, paid - 4).deposits != DEPOSITS
    with twisted(world, pruned) as chain:
        assert chain.status(world.channel).deposits == DEPOSITS
        with pytest.raises(RpcRefused, match="missing trie node"):
            chain.status(world.channel, paid)
    assert asked == ["latest", hex(paid)]


REASON = "0x08c379a0" + encode(("string",), ("adjudicator: closed",)).hex()


@pytest.mark.parametrize(
    "refusal",
    [
        error("execution reverted: adjudicator: closed", 3, REASON),
        error("execution reverted", 3, REASON),
        error("VM Exception while processing transaction", -32_603, REASON),
        error("reverted", -32_603, {"data": REASON, "message": "reverted"}),
        error("execution reverted: adjudicator: closed", 3),
    ],
    ids=["geth", "data only", "hardhat", "wrapped", "message only"],
)
def test_a_revert_reason_is_found_however_a_node_dresses_it(world, refusal):
    with twisted(world, only("eth_estimateGas", refusal)) as chain:
        with pytest.raises(TransactionReverted) as refused:
            chain.send(chain.challenge_unsigned(world.terms))
        assert (refused.value.call, refused.value.reason) == ("challenge_unsigned", "adjudicator: closed")


def test_a_transaction_that_is_not_mined_in_time(world):
    with twisted(world, only("eth_getTransactionReceipt", {"jsonrpc": "2.0", "id": 0, "result": None})) as chain:
        with pytest.raises(TransactionPending, match="is not mined after 2 s") as pending:
            chain.send(chain.approve(world.local.token, 1))
        assert len(pending.value.transaction) == 66


def test_an_endpoint_that_fails_after_the_sending_is_asked_again(world):
    failures = [error("busy"), {"jsonrpc": "2.0", "id": 0, "result": {"status": "maybe"}}]

    def twist(method: str, asked: dict[str, object]) -> dict[str, object] | None:
        return failures.pop() if method == "eth_getTransactionReceipt" and failures else None

    with twisted(world, twist) as chain:
        assert chain.send(chain.approve(world.local.token, 9)).call == "approve"
    assert failures == []


def test_a_transaction_left_by_an_earlier_run_is_waited_for(world):
    """The pool reports one more than the chain until the third look; then nothing is sent before it is mined."""
    looks = []

    def twist(method: str, asked: dict[str, object]) -> dict[str, object] | None:
        if method == "eth_getTransactionCount":
            which = asked["params"][1]  # type: ignore[index]
            looks.append(which)
            if which == "pending" and looks.count("pending") < 3:
                return {"jsonrpc": "2.0", "id": 0, "result": "0x63"}
        return None

    with twisted(world, twist) as chain:
        chain.send(chain.approve(world.local.token, 1))
    assert looks.count("pending") >= 3


def test_a_transaction_left_by_an_earlier_run_that_is_never_mined(world):
    def twist(method: str, asked: dict[str, object]) -> dict[str, object] | None:
        stuck = method == "eth_getTransactionCount" and asked["params"][1] == "pending"  # type: ignore[index]
        return {"jsonrpc": "2.0", "id": 0, "result": "0x63"} if stuck else None

    with twisted(world, twist) as chain, pytest.raises(TransactionPending, match="sent earlier"):
        chain.send(chain.approve(world.local.token, 1))
    assert "approve" not in world.local.gas


def test_a_pool_that_already_has_the_transaction(world):
    sent = []

    def twist(method: str, asked: dict[str, object]) -> dict[str, object] | None:
        if method != "eth_sendRawTransaction" or sent:
            return None
        sent.append(asked)
        with serving(world.local) as other:
            other.answer(asked)
        return error("already known")

    with twisted(world, twist) as chain:
        assert chain.send(chain.approve(world.local.token, 9)).call == "approve"
        assert chain.allowance(world.local.token, chain.account) == 9


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("nonce too low", TransactionPending),
        ("replacement transaction underpriced", TransactionPending),
        ("transaction type not supported", RpcRefused),
    ],
)
def test_a_pool_that_refuses(world, message, expected):
    with twisted(world, only("eth_sendRawTransaction", error(message))) as chain, pytest.raises(expected):
        chain.send(chain.approve(world.local.token, 1))


def test_a_call_that_fails_only_when_it_is_mined(world):
    """As when another transaction came first after the estimate: the reason is found by a second try."""

    def twist(method: str, asked: dict[str, object]) -> dict[str, object] | None:
        return {"jsonrpc": "2.0", "id": 0, "result": "0x7a120"} if method == "eth_estimateGas" else None

    with twisted(world, twist) as chain, pytest.raises(TransactionReverted, match=r"claim .* nothing to claim"):
        chain.send(chain.claim(world.local.token, alice.owner))


def test_a_legacy_chain_without_a_base_fee(world):
    def twist(method: str, asked: dict[str, object]) -> dict[str, object] | None:
        if method != "eth_getBlockByNumber":
            return None
        with serving(world.local) as other:
            answer = other.answer(asked)
        answer["result"].pop("baseFeePerGas")
        return answer

    with twisted(world, twist) as chain:
        assert chain.gas_price() == 10**9
        receipt = chain.send(chain.approve(world.local.token, 1))
        assert receipt.fee == receipt.gas_used * 10**9


@pytest.mark.parametrize("change", [{"data": "0x1234"}, {"topics": 7}, {"blockNumber": None}, {"address": "0x12"}])
def test_logs_that_no_adjudicator_wrote(world, change):
    world.deposit()
    head = world.alice.head().number

    def twist(method: str, asked: dict[str, object]) -> dict[str, object] | None:
        if method != "eth_getLogs":
            return None
        with serving(world.local) as other:
            answer = other.answer(asked)
        answer["result"][0].update(change)
        return answer

    with twisted(world, twist) as chain, pytest.raises(RpcUnavailable):
        chain.facts(0, head)


@pytest.mark.parametrize("change", [{"removed": True}, {"address": str(alice.address)}, {"blockNumber": "0x1"}])
def test_logs_that_were_not_asked_for_are_left_out(world, change):
    world.deposit()
    head = world.alice.head().number

    def twist(method: str, asked: dict[str, object]) -> dict[str, object] | None:
        if method != "eth_getLogs":
            return None
        with serving(world.local) as other:
            answer = other.answer(asked)
        answer["result"][0].update(change)
        return answer

    with twisted(world, twist) as chain:
        assert len(chain.facts(3, head)) == 1
