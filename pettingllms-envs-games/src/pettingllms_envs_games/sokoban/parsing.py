"""Reading moves out of a response."""

from __future__ import annotations

import re

# Line by line and without nested repeats: linear in the length of any text.
_MOVES_LINE = re.compile(r"[ \t*_>#`-]*moves?[ \t*_]*:(.*)", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z]+|[^A-Za-z\s]")
_SEPARATORS = frozenset(",;.[](){}'\"`*_->|")
_WORDS = {"up": "U", "down": "D", "left": "L", "right": "R", "↑": "U", "↓": "D", "←": "L", "→": "R"}
_LETTERS = frozenset("udlr")


def parse_moves(text: str) -> str | None:
    """Return the moves in `text` as letters of ``UDLR``, or None when it is not an answer.

    The last line ``Moves: ...`` counts; without one, what follows the last ``####``, or stands in
    the last code fence; without these, the text must be nothing but moves. Moves are letters
    (``URRD``, ``u r r d``) or words (``up, right``); the word ``none`` alone is an answer without
    moves. What stands before a closing ``</think>`` does not count.
    """
    tokens = [token for token in _TOKEN.findall(_answer(text)) if token not in _SEPARATORS]
    if [token.lower() for token in tokens] == ["none"]:
        return ""
    moves = []
    for token in tokens:
        lower = token.lower()
        if lower in _WORDS:
            moves.append(_WORDS[lower])
        elif _LETTERS.issuperset(lower):
            moves.append(token.upper())
        else:
            return None
    return "".join(moves) or None


def _answer(text: str) -> str:
    """Return the part of a response that has to be moves."""
    text = text.rpartition("</think>")[2]
    lines = [match[1] for line in text.splitlines() if (match := _MOVES_LINE.match(line))]
    if lines:
        return lines[-1]
    if "####" in text:
        return text.rpartition("####")[2].strip().partition("\n")[0]
    parts = text.split("```")
    if len(parts) >= 3:
        tag, newline, body = parts[-2].partition("\n")
        return body if newline else tag
    return text
