"""The risk engines that a node's channels may name: each read once, before the first terms that name it are agreed to.

A margin call, a liquidation and a release are whatever the engine says, so its code and its policy are part of what a
signature under the terms means. Code never changes behind an address, so what was checked once stays checked.
"""

from __future__ import annotations

import trio

from ..chain.port import Chain
from ..errors import ContractMismatch, TermsRefused
from ..model import ZERO_ADDRESS, Address, Terms
from .config import NodeConfig


class CheckedEngines:
    """Engines whose code is the shipped one, with the hash of the margin policy that each holds."""

    def __init__(self, chain: Chain, config: NodeConfig) -> None:
        self._chain, self._config = chain, config
        self.policies: dict[Address, bytes] = {}

    async def check_configured(self) -> None:
        """Check those that the config names, which peers may then propose.

        Raises ContractMismatch for one that is not the shipped engine, or holds a policy that is not the node's.
        """
        for engine in sorted(self._config.engines):
            policy = await trio.to_thread.run_sync(self._chain.engine_policy, engine)
            if policy not in self._config.policies:
                raise ContractMismatch(
                    str(engine), f"its margin policy 0x{policy.hash.hex()} is not known to this node"
                )
            await trio.to_thread.run_sync(self._chain.verify_engine, engine, policy)
            self.policies[engine] = policy.hash

    async def check(self, terms: Terms) -> None:
        """Check the engine that our own terms name, unless it was; TermsRefused where it is not what they say."""
        if terms.engine == ZERO_ADDRESS or terms.engine in self.policies:
            return
        policy = self._config.policy_of(terms)
        try:
            await trio.to_thread.run_sync(self._chain.verify_engine, terms.engine, policy)
        except ContractMismatch as mismatch:
            raise TermsRefused(f"risk engine: {mismatch}") from mismatch
        self.policies[terms.engine] = policy.hash
