"""Draws the README's picture and docs/diagrams/phases.md from the transition table: they cannot differ from the code.

python -m tools.draw_phases           write both
python -m tools.draw_phases --check   exit 1 if a committed one is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from channels.core.phases import TRANSITIONS, Phase

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "diagrams" / "phases.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- phases -->", "<!-- /phases -->"


def picture() -> list[str]:
    """Return the mermaid state diagram of the moves between phases."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Phase.OPENING.value}"]
    for here, events in TRANSITIONS.items():
        moves: dict[Phase, list[str]] = {}
        for event, phases in events.items():
            for there in phases:
                if there is not here:
                    moves.setdefault(there, []).append(event.__name__)
        lines += [f"    {here.value} --> {there.value}: {', '.join(names)}" for there, names in moves.items()]
    return [*lines, f"    {Phase.CLOSED.value} --> [*]", "```"]


def draw() -> str:
    """Return the document: the picture, and the table of what each phase listens to."""
    lines = [
        "# The phases of a channel",
        "",
        "Drawn by `python -m tools.draw_phases` from `channels/core/phases.py`; a test compares them.",
        "An event that a phase does not list is refused with `UnexpectedMessage` and changes nothing.",
        "",
        *picture(),
        "",
        "| event | " + " | ".join(p.value for p in Phase) + " |",
        "|---" * (len(Phase) + 1) + "|",
    ]
    known = dict.fromkeys(event for events in TRANSITIONS.values() for event in events)
    for event in known:
        cells = (", ".join(there.value for there in TRANSITIONS[here].get(event, ())) or "—" for here in Phase)
        lines.append(f"| {event.__name__} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """Return the README with the present picture between its marks."""
    before, rest = README.read_text("utf-8").split(BEGIN)
    return "\n".join([before + BEGIN, *picture(), END + rest.split(END)[1]])


def main() -> int:
    """Write the drawing, or compare it."""
    if "--check" in sys.argv[1:]:
        current = TARGET.exists() and TARGET.read_text("utf-8") == draw()
        return 0 if current and README.read_text("utf-8") == readme() else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(draw(), "utf-8")
    README.write_text(readme(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
