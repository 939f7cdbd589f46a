"""A store that a node could have written, and the page that shows its margin.

python -m tests.margin_example alice.sqlite    write the store, to look at with `channels margin alice.sqlite`
python -m tests.margin_example --update        print the table into docs/risk_report.md again
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from channels.core.channel import MarkPolicy
from channels.core.facts import ClosedSeen, DepositSeen
from channels.core.machine import replay
from channels.core.records import ChainSaid, Opened, Record, StateAgreed, TermsAccepted
from channels.model import Book, Leg, Marks, Party, Terms
from channels.risk import DEFAULT_POLICY
from channels.runtime.margin_table import MarginTable
from channels.store import SqliteStore
from tests import roles

TERMS = replace(roles.TERMS, policy=DEFAULT_POLICY.hash)
CASH = (10_000 * roles.UNIT, 5_000 * roles.UNIT)
_LEGS = (
    Leg.put(roles.ETH, roles.EXPIRY, 2200, quantity=-15),
    Leg.call(roles.ETH, roles.EXPIRY, 2600, quantity=-5),
    Leg.put(roles.BTC, roles.LATER, 30_000, quantity=-1),
)
STRANGLE = Book.of(
    _LEGS,
    Marks.at(roles.NOW, spots={roles.ETH: 2_300, roles.BTC: 44_000}, vols=dict.fromkeys(_LEGS, "0.6")),
    b"s" * 32,
)
AT = roles.NOW + 600
PAGE = Path(__file__).parents[1] / "docs" / "risk_report.md"
BEGIN, END = "<!-- table -->\n```\n", "```\n<!-- /table -->"


def records(terms: Terms, held: Book, me: Party = Party.ZERO, *, closed: bool = False) -> list[Record]:
    """Terms, both deposits, one agreed state that holds a book; and the close, if it is."""
    agreed = roles.agreed(held, channel=terms.channel_id(roles.DEPLOYMENT))
    deposits = [ChainSaid(DepositSeen(party, CASH[party])) for party in Party]
    close = [ChainSaid(ClosedSeen(CASH))] if closed else []
    return [Opened(roles.DEPLOYMENT, terms, me, True), TermsAccepted(), *deposits, StateAgreed(agreed, ()), *close]


def write(path: Path, *channels: tuple[Terms, Book], me: Party = Party.ZERO, closed: bool = False) -> Path:
    """Write a store with these channels; return its path."""
    store = SqliteStore.open(path)
    for terms, held in channels:
        store.append(terms.channel_id(roles.DEPLOYMENT), records(terms, held, me, closed=closed))
    store.close()
    return path


def shown() -> str:
    """What `channels margin alice.sqlite --at AT` prints of the example."""
    return f"{MarginTable.of(replay(records(TERMS, STRANGLE), DEFAULT_POLICY, MarkPolicy()), AT, t=AT)}\n"


def page(text: str) -> str:
    """Return the page with the table printed into it."""
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + shown() + END + rest.partition(END)[2]


if __name__ == "__main__":
    (argument,) = sys.argv[1:]
    if argument == "--update":
        PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    else:
        write(Path(argument), (TERMS, STRANGLE))
