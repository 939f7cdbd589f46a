"""State channels that carry option positions."""
