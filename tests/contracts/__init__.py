"""The contracts against a real EVM, entry point by entry point."""
