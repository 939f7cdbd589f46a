"""The embedded chain as a JSON-RPC endpoint on loopback, for tests that need a second process or a real socket.

with serving(local) as server:
    Web3Chain.connect(server.url, local.deployment, account)
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from web3 import Web3

from channels.chain.local import LocalChain


class RpcServer:
    """Answers POSTed JSON-RPC from an embedded chain; `methods` lists what was asked, in order."""

    def __init__(self, local: LocalChain) -> None:
        web3 = Web3(local.provider, middleware=())
        # Through eth-tester's own formatting: its raw request function does not understand what JSON carries.
        self._ask = local.provider.request_func(web3, web3.middleware_onion)
        self.methods: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(server.answer(asked)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Say nothing: a test's output is its own."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request object."""
        self.methods.append(asked["method"])
        answer = self._ask(asked["method"], asked.get("params", []))
        kind = "error" if "error" in answer else "result"
        value = answer["error"] if kind == "error" else _json(answer["result"])
        return {"jsonrpc": "2.0", "id": asked.get("id"), kind: value}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def serving(local: LocalChain) -> Iterator[RpcServer]:
    """Serve the chain on an ephemeral loopback port until the block ends."""
    server = RpcServer(local)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _json(value: Any) -> Any:
    """JSON-RPC's forms: quantities and bytes as 0x-prefixed hex."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value)
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return value
