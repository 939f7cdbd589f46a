"""Repeat one comparison of contract and library: what a failing differential test prints is all it takes.

python -m tests.contracts.engine_replay book 12345
python -m tests.contracts.engine_replay options 678
"""

from __future__ import annotations

import sys

from tests.contracts.engine_books import POLICIES, random_case
from tests.contracts.engine_laws import check_book, check_options
from tests.contracts.engine_world import Engine


def main(kind: str, seed: int) -> None:
    if kind == "options":
        compared = check_options(Engine.deployed(POLICIES[0]), seed)
    else:
        print(random_case(seed))
        compared = check_book([Engine.deployed(policy) for policy in POLICIES], seed)
    print(f"{kind} {seed}: {compared} integers agree")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
