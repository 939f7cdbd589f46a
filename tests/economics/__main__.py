"""`python -m tests.economics` plays the campaign and writes its tables into docs/economics.md, one into docs/risk.md.

`python -m tests.economics replay "short strangle, 11 d" "sweeps" 1234 --cure 1800` tells one path's story by the exact
engine, event by event.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from .books import KINDS, Legs, kind_named
from .exact import replay
from .paths import synthetic
from .report import Campaign, Table, tables
from .rules import MENU, Rules

PAGE = Path(__file__).parents[2] / "docs" / "economics.md"
RISK_PAGE = PAGE.with_name("risk.md")
REPEATED = "default"
"""The table that the risk page shows as well."""


def main(arguments: list[str]) -> int:
    """Play the campaign, or tell one path."""
    default = Campaign()
    parser = argparse.ArgumentParser(prog="python -m tests.economics", description=__doc__)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--paths", type=int, default=default.paths, help="of the tables by book")
    parser.add_argument("--sweep-paths", type=int, default=default.sweep_paths, help="of the tables by parameter")
    parser.add_argument("--workers", type=int, default=default.workers)
    parser.add_argument("--print", action="store_true", help="print the tables, leave the page as it is")
    commands = parser.add_subparsers(dest="command")
    one = commands.add_parser("replay", help="one path by the exact engine")
    one.add_argument("book", choices=[kind.name for kind in KINDS])
    one.add_argument("strategy", choices=[strategy.name for strategy in MENU])
    one.add_argument("index", type=int)
    one.add_argument("--cure", type=float, default=Rules().cure, help="seconds")
    chosen = parser.parse_args(arguments)
    if chosen.command == "replay":
        strategy = next(s for s in MENU if s.name == chosen.strategy)
        market = synthetic(chosen.seed, [chosen.index])
        told = replay(market, 0, Legs.of(kind_named(chosen.book)), Rules(cure=chosen.cure), strategy)
        print(f"seed {chosen.seed}, path {chosen.index}, SYNTHETIC {market.names[0]}", *told.story, sep="\n")
        return 0
    campaign = Campaign(chosen.seed, chosen.paths, chosen.sweep_paths, chosen.workers)
    started = time.monotonic()
    command = f"python -m tests.economics --seed {campaign.seed} --paths {campaign.paths}"
    command += f" --sweep-paths {campaign.sweep_paths}"
    print(command, flush=True)
    found = [("command", [f"`{command}`"])]
    for name, lines in tables(campaign, lambda text: print(f"{time.monotonic() - started:6.0f} s  {text}", flush=True)):
        found.append((name, lines))
        print("\n".join(["", name, *lines, ""]), flush=True)
    if not chosen.print:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
        repeated = [table for table in found if table[0] == REPEATED]
        RISK_PAGE.write_text(written(RISK_PAGE.read_text(encoding="utf-8"), repeated, RISK_PAGE.name), encoding="utf-8")
    print(f"{time.monotonic() - started:6.0f} s")
    return 0


def written(page: str, found: Iterable[Table], name_of_page: str = PAGE.name) -> str:
    """Return the page with each table between its two markers; a table without markers is an error."""
    for name, lines in found:
        opening, closing = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = page.partition(opening)
        _, found_closing, after = rest.partition(closing)
        if not found_closing:
            raise SystemExit(f"docs/{name_of_page} has no place for the table {name}")
        page = before + opening + "\n".join(lines) + "\n" + closing + after
    return page


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
