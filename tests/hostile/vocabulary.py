"""All words, whichever file says them: import them from here, so that none is missing."""

from __future__ import annotations

from . import words_loss, words_meeting, words_update
from .words import EVENTS_OF, OWN_EVENTS, SAMPLES, WORDS, due, speak

__all__ = ["EVENTS_OF", "FILES", "OWN_EVENTS", "SAMPLES", "WORDS", "due", "speak"]

FILES = (words_meeting, words_update, words_loss)
"""Where words are added."""
