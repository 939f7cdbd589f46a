"""`channels dispute`: from a store file to the payout, for a person at 3 a.m. See docs/dispute.md.

Light to import: the chain's client is loaded when the verb runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ChainError, InvalidValue, KeyUnusable, StoreIncomplete, StoreLocked, StoreMissing

if TYPE_CHECKING:
    from ..model import ChannelId
    from ..runtime.dispute import Dispute
    from ..runtime.dispute_steps import Outlook
    from ..seal import Signer
    from ..store import Store

NAME = "dispute"
SUMMARY = "enforce a channel on-chain from its store file: submit, wait, settle, claim"
DESCRIPTION = """\
Shows on one screen what a channel's store can enforce, by when, and for how much gas; then, if you agree, opens or
answers the dispute, waits for the deadline, fixes prices, settles and claims. It only reads the store, and it can be
interrupted at any point: run the same command again and it goes on from what the chain says.

The key is that of your signer or your owner. It is read from the environment variable CHANNELS_KEY or from
--key-file, never from the command line. The address may come from CHANNELS_RPC instead of --rpc.

exit status: 0 closed and paid (with --dry-run: shown), 1 failed, 2 wrong arguments, 3 you said no, 130 interrupted
"""
RPC_VARIABLE = "CHANNELS_RPC"
EXIT_DECLINED, EXIT_INTERRUPTED = 3, 130
MAX_KEY_FILE = 1_024
SPEAK_EVERY = 60.0
"""Seconds between lines about an unchanged wait where no terminal shows a countdown."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("store", type=Path, metavar="STORE", help="the node's store file, or a copy of it")
    parser.add_argument("--rpc", metavar="URL", default=os.environ.get(RPC_VARIABLE), help="an Ethereum JSON-RPC")
    parser.add_argument("--channel", metavar="ID", help="which channel: the first hex digits of its id are enough")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="a file that holds the hex private key")
    parser.add_argument("--dry-run", action="store_true", help="show everything, simulate the next step, send nothing")
    parser.add_argument(
        "--liquidate", action="store_true", help="close the peer out in the window of a margin call that it missed"
    )
    parser.add_argument(
        "--top-up",
        metavar="TOKENS",
        help="deposit up to so many tokens, as far as it takes to cure a margin call against you",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before the first transaction")
    parser.add_argument("--poll", type=_seconds, default=5.0, metavar="S", help="seconds between looks (5)")
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=600.0,
        metavar="S",
        help="seconds that the RPC may fail, or a transaction stay unmined, before giving up (600)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show, ask, and see it through; see DESCRIPTION for the exit status. Raises ChannelError."""
    if not arguments.rpc:
        print(f"channels dispute: give --rpc URL, or set {RPC_VARIABLE}", file=sys.stderr)
        return 2
    signer = _signer(arguments.key_file)
    with _opened(arguments.store) as store:
        channel = chosen_channel(store, arguments.channel)
        warn_of_a_loss(store, channel)
        return _dispute(arguments, store, channel, signer)


def _dispute(arguments: argparse.Namespace, store: Store, channel: ChannelId, signer: Signer) -> int:
    from ..chain.account import KeyAccount
    from ..chain.client import Web3Chain
    from ..chain.submit import SubmitPolicy
    from ..runtime.dispute import Dispute
    from ..runtime.dispute_steps import Act, Evidence, Finished, Orders
    from ..units import token_amount
    from .dispute_screen import screen

    evidence = Evidence.read(store, channel)
    policy = SubmitPolicy(patience=arguments.patience)
    chain = Web3Chain.connect(arguments.rpc, evidence.deployment, KeyAccount(signer), policy=policy)
    top_up = token_amount(arguments.top_up, evidence.terms.decimals, "--top-up") if arguments.top_up else 0
    dispute = Dispute(evidence, chain, Orders(arguments.liquidate, top_up))
    dispute.check()
    outlook = dispute.look()
    step = dispute.next_step(outlook)
    budget = dispute.budget(outlook, step)
    columns, rows = shutil.get_terminal_size((80, 24))
    limit = max(1, rows - 3) if sys.stdout.isatty() else None
    symbol = _symbol(dispute)
    for line in screen(
        dispute, outlook, step, budget, symbol, width=min(columns, 100), height=limit, clock=time.time()
    ):
        print(line)
    if isinstance(step, Finished):
        return 0
    if arguments.dry_run:
        if isinstance(step, Act) and step.call.spends is None:
            chain.simulate(step.call)
            print("Dry run: the next step was simulated and would succeed. Nothing was sent.")
        else:
            print("Dry run: nothing was sent.")
        return 0
    if not arguments.yes and not _confirmed():
        print("Nothing was sent.")
        return EXIT_DECLINED
    return _see_through(dispute, arguments.poll, arguments.patience, symbol)


def _see_through(dispute: Dispute, poll: float, patience: float, symbol: str) -> int:
    from .dispute_progress import Progress, paid

    progress = Progress(live=sys.stdout.isatty(), every=SPEAK_EVERY)
    try:
        outlook: Outlook = dispute.run(progress.tell, poll=poll, patience=patience)
    except KeyboardInterrupt:
        progress.line("Interrupted. Nothing is lost: run the same command again to go on.")
        return EXIT_INTERRUPTED
    except ChainError:
        progress.line("Stopped. Nothing is lost: run the same command again to go on.")
        raise
    for line in paid(dispute, outlook, symbol):
        progress.line(line)
    return 0


# What is given


def _signer(key_file: Path | None) -> Signer:
    from ..seal import Signer

    if key_file is None:
        from ..runtime.keys import KEY_VARIABLE, key_from_environment

        try:
            return Signer.from_hex(key_from_environment())
        except KeyUnusable as unusable:
            raise KeyUnusable(f"{unusable.detail} ({KEY_VARIABLE}, or give --key-file)") from None
    try:
        with key_file.open("rb") as file:
            text = file.read(MAX_KEY_FILE).decode("ascii")
    except OSError as refused:
        raise KeyUnusable(f"{key_file}: {refused.strerror}") from None
    except UnicodeDecodeError:
        raise KeyUnusable(f"{key_file} does not hold 64 hex digits") from None
    return Signer.from_hex(text)


class _opened:  # noqa: N801  # used as a function: `with _opened(path) as store`
    """Opens the store for reading, and says what to do where a node holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Store:
        from ..store import SqliteStore

        try:
            self._store = SqliteStore.open(self._path, read_only=True)
        except StoreLocked:
            print(
                "A running node has this store open. It answers and settles by itself: look at its log first.\n"
                "If it is stuck, stop it and run this again; never run both, they would use the same account.",
                file=sys.stderr,
            )
            raise
        except StoreIncomplete as lost:
            self._store = SqliteStore.open(self._path, read_only=True, salvage=True)
            print(
                f"channels: WARNING: {lost}\nThis goes on with what is left: look for the log first.", file=sys.stderr
            )
        return self._store

    def __exit__(self, *error: object) -> None:
        self._store.close()


def warn_of_a_loss(store: Store, channel: ChannelId) -> None:
    """Say so, in one line, where the store's instance marker knows of more than its journal of this channel."""
    from ..store.instance import instance_of, reached_by

    missed = instance_of(store.path).missed({channel: reached_by(store, channel)})
    if missed:
        print(f"channels: WARNING: the store {store.path} lacks what was written last: {missed}", file=sys.stderr)


def chosen_channel(store: Store, wanted: str | None) -> ChannelId:
    """Return the channel that is meant: the only one, or the one whose id begins with `wanted`."""
    channels = store.channels()
    digits = (wanted or "").strip().lower().removeprefix("0x")
    found = [channel for channel in channels if channel.hex().startswith(digits)]
    if len(found) == 1:
        return found[0]
    if not channels:
        raise StoreMissing(store.path, "there is no channel in this store")
    if not found:
        raise StoreMissing(store.path, f"there is no channel {wanted} in this store")
    print(f"{store.path} holds these channels:", file=sys.stderr)
    for channel in found:
        print(f"  0x{channel.hex()}  {_summary(store, channel)}", file=sys.stderr)
    raise InvalidValue("channel", wanted or "", f"{len(found)} channels match: name one with --channel")


def _summary(store: Store, channel: ChannelId) -> str:
    from ..runtime.dispute_steps import Evidence

    evidence = Evidence.read(store, channel)
    version = evidence.agreed.version if evidence.agreed else 0
    return "closed" if evidence.payouts else f"version {version}" if version else "nothing agreed"


def _symbol(dispute: Dispute) -> str:
    try:
        return dispute.chain.symbol(dispute.evidence.terms.token)
    except ChainError:
        return "tokens"


def _confirmed() -> bool:
    try:
        answer = input("Go ahead? [y/N] ")
    except EOFError:
        print("\nNobody is there to ask: give --yes to go ahead without asking.")
        return False
    return answer.strip().lower() in ("y", "yes")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError
    return value
