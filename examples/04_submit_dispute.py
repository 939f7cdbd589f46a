"""Enforce a channel on-chain with nothing but its store file, a key and an RPC address.

    python examples/04_submit_dispute.py STORE --rpc URL --dry-run

Without `--dry-run` it asks, then submits, waits for the deadline, fixes prices, settles and claims; Ctrl-C at any point
is safe, because the next run works out from the chain where things stand. The key comes from the environment variable
CHANNELS_KEY or from `--key-file`. This is the same code as `channels dispute`; docs/dispute.md is the runbook.

To build it into a program of your own, use the class that it drives: `channels.runtime.dispute.Dispute`.
"""

from __future__ import annotations

import sys

from channels.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["dispute", *sys.argv[1:]]))
