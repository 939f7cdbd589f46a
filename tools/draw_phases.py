"""Draws docs/diagrams/phases.md from the transition table, so that the picture cannot say something else than the code.

python -m tools.draw_phases           write the file
python -m tools.draw_phases --check   exit 1 if the committed one is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from channels.core.phases import TRANSITIONS, Phase

TARGET = Path(__file__).resolve().parents[1] / "docs" / "diagrams" / "phases.md"


def draw() -> str:
    """Return the document: a mermaid state diagram of the moves, and the table of what each phase listens to."""
    lines = [
        "# The phases of a channel",
        "",
        "Drawn by `python -m tools.draw_phases` from `channels/core/phases.py`; a test compares them.",
        "An event that a phase does not list is refused with `UnexpectedMessage` and changes nothing.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {Phase.OPENING.value}",
    ]
    for here, events in TRANSITIONS.items():
        moves: dict[Phase, list[str]] = {}
        for event, phases in events.items():
            for there in phases:
                if there is not here:
                    moves.setdefault(there, []).append(event.__name__)
        lines += [f"    {here.value} --> {there.value}: {', '.join(names)}" for there, names in moves.items()]
    lines += [f"    {Phase.CLOSED.value} --> [*]", "```", "", "| event | " + " | ".join(p.value for p in Phase) + " |"]
    lines.append("|---" * (len(Phase) + 1) + "|")
    known = dict.fromkeys(event for events in TRANSITIONS.values() for event in events)
    for event in known:
        cells = (", ".join(there.value for there in TRANSITIONS[here].get(event, ())) or "—" for here in Phase)
        lines.append(f"| {event.__name__} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the drawing, or compare it."""
    if "--check" in sys.argv[1:]:
        return 0 if TARGET.exists() and TARGET.read_text() == draw() else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(draw())
    return 0


if __name__ == "__main__":
    sys.exit(main())
