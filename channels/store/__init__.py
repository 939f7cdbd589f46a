"""Disk: an append-only journal per channel, durable before anything it records is said. The only room with sqlite3."""

from .memory import MemoryStore
from .port import Store
from .sqlite import SqliteStore

__all__ = ["MemoryStore", "SqliteStore", "Store"]
