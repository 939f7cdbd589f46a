"""The one logger: what the node does by itself, and what went wrong at its edges. Never keys, never signatures."""

from __future__ import annotations

import logging

log = logging.getLogger("channels")
