"""The edge to web3: one place where its exceptions, and those of the network, become ours.

An endpoint is not trusted to answer, to answer with JSON, or to stop answering: a request has one time limit for all of
it, a bounded body, no retries and no redirects. What reaches the rest of the library is a value or a ChainError.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from eth_typing import URI
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError, Web3RPCError
from web3.providers import BaseProvider
from web3.types import RPCEndpoint, RPCResponse

from ..errors import ChannelError, RpcRefused, RpcUnavailable, TransactionReverted, WrongChain
from .abi import revert_reason

T = TypeVar("T")

REQUEST_TIMEOUT = 10.0
"""Seconds for one request, from the connection to the last byte."""
MAX_ANSWER_BYTES = 16 * 2**20
_PIECE = 65_536
_MAX_DEPTH = 32
_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""Strings, so that brackets inside them do not count, and brackets. Linear in the length, whatever the bytes."""
_STEP = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


def public_endpoint(url: str) -> str:
    """Return an endpoint's address without user, path and query, where providers put their customers' keys."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def printable(text: str, limit: int = 200) -> str:
    """Return text that came from a chain fit for a terminal and a log: one line, no control characters, bounded."""
    return "".join(c if c.isprintable() else "?" for c in text[:limit])


class BoundedHTTPProvider(HTTPProvider):
    """web3's HTTP transport with a limit on time and size, and every failure mapped to RpcUnavailable."""

    def __init__(self, url: str, timeout: float = REQUEST_TIMEOUT) -> None:
        super().__init__(url, exception_retry_configuration=None)
        self.public = public_endpoint(url)
        self.timeout = timeout
        self._url = URI(url)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Send one JSON-RPC request and return the answer's object."""
        body = self._post(self.encode_rpc_request(method, params))
        try:
            _check_depth(body)
            answer = self.decode_rpc_response(body)
        except ValueError:
            raise RpcUnavailable(self.public, "its answer is not JSON") from None
        if not isinstance(answer, dict) or ("result" in answer) == isinstance(answer.get("error"), dict):
            raise RpcUnavailable(self.public, "its answer is not JSON-RPC")
        return answer

    def _post(self, body: bytes) -> bytes:
        deadline = time.monotonic() + self.timeout
        try:
            with self._request_session_manager.get_response_from_post_request(
                self._url,
                data=body,
                timeout=self.timeout,
                stream=True,
                allow_redirects=False,
                # Not compressed: a few kilobytes could unpack to any size.
                headers={**self.get_request_headers(), "Accept-Encoding": "identity"},
            ) as response:
                # An RPC error may come with status 400 or 500 and a JSON-RPC body; a proxy's error page has neither.
                if response.status_code != 200 and "json" not in response.headers.get("Content-Type", ""):
                    raise RpcUnavailable(self.public, f"it answers with HTTP status {response.status_code}")
                return self._read(response.raw, deadline)
        except OSError as fault:  # what `requests` raises derives from it
            late = "Timeout" in type(fault).__name__ or time.monotonic() >= deadline
            detail = f"no answer within {self.timeout:g} s" if late else "no connection, or it was closed"
            raise RpcUnavailable(self.public, detail) from None

    def _read(self, raw: Any, deadline: float) -> bytes:
        """Read piece by piece: a timeout of the socket alone would let a byte a second go on for ever."""
        pieces: list[bytes] = []
        size = 0
        while piece := raw.read1(_PIECE, decode_content=False):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                raise RpcUnavailable(self.public, f"its answer exceeds {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() >= deadline:
                raise TimeoutError
        return b"".join(pieces)


class Rpc:
    """Asks one endpoint; knows which chain it must be."""

    def __init__(self, provider: BaseProvider, endpoint: str, chain_id: int) -> None:
        self.endpoint = endpoint
        self.chain_id = chain_id
        # Without web3's middleware: it costs more than the calls, and resolves names that nobody uses here. Without
        # EIP-3668 too, by which a contract could make this machine fetch any URL.
        provider.global_ccip_read_enabled = False
        self._web3 = Web3(provider, middleware=())
        self._checked = False

    def ask(self, question: Callable[[Web3], T], call: str = "call") -> T:
        """Return the answer to a question; `call` names it if a contract refuses.

        Raises RpcUnavailable, TransactionReverted, and WrongChain before the first question of all is put.
        """
        if not self._checked:
            got = self._mapped(lambda web3: int(web3.eth.chain_id), "eth_chainId")
            if got != self.chain_id:
                raise WrongChain(self.chain_id, got)
            self._checked = True
        return self._mapped(question, call)

    def _mapped(self, question: Callable[[Web3], T], call: str) -> T:
        try:
            return question(self._web3)
        except ChannelError:
            raise
        except ContractLogicError as refusal:
            raise TransactionReverted(call, printable(_reason(refusal.data, refusal.message))) from None
        except Web3RPCError as refusal:
            error: Any = (refusal.rpc_response or {}).get("error")
            error = error if isinstance(error, dict) else {}
            if (reason := _data_reason(error.get("data"))) is not None:
                raise TransactionReverted(call, printable(reason)) from None
            raise RpcRefused(self.endpoint, printable(str(error.get("message") or refusal))) from None
        except Exception as fault:  # web3 meets nonsense from an endpoint with whatever its formatters stumble over
            raise RpcUnavailable(self.endpoint, f"its answer makes no sense: {type(fault).__name__}") from fault


def _check_depth(body: bytes) -> None:
    """Raise ValueError if JSON nests deeper than any answer does.

    Python's decoder recurses, and py-evm raises the recursion limit of the whole process beyond what the C stack holds:
    without this an endpoint could crash a process that has the embedded chain loaded.
    """
    depth = 0
    for token in _BRACKETS.finditer(body):
        depth += _STEP.get(token.group(), 0)
        if depth > _MAX_DEPTH:
            raise ValueError


def _data_reason(data: object) -> str | None:
    if isinstance(data, dict):  # some nodes wrap it
        data = data.get("data")
    if not isinstance(data, str) or not data.startswith("0x"):
        return None
    try:
        return revert_reason(bytes.fromhex(data[2:]))
    except ValueError:
        return None


def _reason(data: object, message: str | None) -> str:
    """Return the contract's own words where there are any: nodes dress them up differently."""
    if (reason := _data_reason(data)) is not None:
        return reason
    text = (message or "").removeprefix("execution reverted").removeprefix(":").strip()
    return text or "no reason given"
