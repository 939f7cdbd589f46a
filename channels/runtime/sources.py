"""The price sources that a node's channels may name: each read once, before the first terms that name it are agreed to.

Who tells the prices decides who is paid. Which publishers or feeds those are stands in a source's code, and the code of
a shipped source never changes; so it is held against what the owner accepts once, and what was accepted stays so.
"""

from __future__ import annotations

import trio

from ..chain.port import Chain
from ..chain.source import described
from ..errors import SourceMismatch, TermsRefused
from ..model import Address, Terms
from .config import NodeConfig
from .log import log


class CheckedSources:
    """Price sources whose code is shipped, or known to the owner, and set up as the owner accepts."""

    def __init__(self, chain: Chain, config: NodeConfig) -> None:
        self._chain, self._config = chain, config
        self._checked: set[Address] = set()

    async def check_configured(self) -> None:
        """Check those that the config names, which peers may then propose; SourceMismatch for one not accepted."""
        for source in sorted(self._config.sources):
            await self._check(source)

    async def check(self, terms: Terms) -> None:
        """Check the source that our own terms name, unless it was; TermsRefused where it is not what we accept."""
        if terms.source in self._checked:
            return
        try:
            await self._check(terms.source)
        except SourceMismatch as mismatch:
            raise TermsRefused(str(mismatch)) from mismatch

    async def _check(self, source: Address) -> None:
        setup = await trio.to_thread.run_sync(self._chain.verify_source, source, self._config.source_setups)
        log.info("price source %s: %s", source, described(setup))
        self._checked.add(source)
