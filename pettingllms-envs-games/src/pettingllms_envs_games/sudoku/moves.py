"""Reading entries from model text, and what they do to a board."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from pettingllms_envs_games.sudoku.grid import Grid
from pettingllms_envs_games.sudoku.state import Entry

_MARKER = re.compile(r"^[ \t>*`-]*(?:####|\**(?:entries|answer)\**[ \t]*:)\**", re.IGNORECASE | re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*```\w*[ \t]*$", re.MULTILINE)
_TRIPLE = re.compile(r"[\s;,\[({]*(\d+)[\s,:]+(\d+)[\s,:=)\]]+(\d+)(?!\d|\.\d)[\s,;\])}]*", re.ASCII)
_STRAY = re.compile(r"\d[\d\s,;]*$", re.ASCII | re.MULTILINE)
_ROW = re.compile(r"[\s,]*((?:[\d_.][\s,]*)+)", re.ASCII)


@attrs.frozen
class Answer:
    """What a response says. `whole` tells that it wrote out a full grid rather than single entries."""

    entries: tuple[Entry, ...]
    whole: bool = False


NOTHING = Answer(())
"""What an answer that cannot be read is taken for."""


@attrs.frozen
class Effect:
    """What entries do to a board.

    Attributes:
        grid: The board afterwards.
        applied: The entries that took effect, in order.
        clue_overwrites: Entries refused because the cell is a clue.
        out_of_range: Entries refused because the cell or the digit does not exist.
        over_limit: Legal entries cut because the turn was full.
    """

    grid: Grid
    applied: tuple[Entry, ...]
    clue_overwrites: int
    out_of_range: int
    over_limit: int

    @property
    def refused(self) -> int:
        """Entries that did not take effect."""
        return self.clue_overwrites + self.out_of_range + self.over_limit


def parse(response: str, size: int) -> Answer | None:
    """Return what `response` says, or None when it cannot be read.

    The last line that starts with ``####`` or ``Entries:`` counts and may go on in words; without one the
    response must be nothing but the answer. An answer is ``row column digit`` triples (``;``, ``,`` or a
    new line between them, brackets allowed), a full grid of `size` rows of `size` digits (0, ``_`` or ``.``
    leaves a cell alone), or ``none``.
    """
    text = response.rpartition("</think>")[2]
    markers = list(_MARKER.finditer(text))
    marked = bool(markers)
    if marked:
        text = text[markers[-1].end() :]
    text = _FENCE.sub("", text).replace("`", " ").strip()
    if re.match(r"none\b", text, re.IGNORECASE) and (marked or len(text) <= len("none.")):
        return Answer(())
    grid = _parse_grid(text, size, marked)
    return grid if grid is not None else _parse_triples(text, marked)


def _parse_grid(text: str, size: int, marked: bool) -> Answer | None:
    first = text.split(maxsplit=1)[0] if text else ""
    if len(first) == size * size and (marked or first == text):
        text = "\n".join(first[start : start + size] for start in range(0, len(first), size))
    parts = [part for part in re.split(r"[\n;/\[\](){}|]+", text) if part.strip(" \t,")]
    if len(parts) < size or (len(parts) > size and not marked):
        return None
    entries = []
    for row, part in enumerate(parts[:size], start=1):
        found = _ROW.match(part)
        digits = re.sub(r"[\s,]", "", found[1]) if found else ""
        rest = part[found.end() :].strip() if found else part
        if len(digits) != size or (rest and not (marked and row == size)):
            return None
        for column, digit in enumerate(digits, start=1):
            if digit not in "0._":
                entries.append(Entry(row, column, int(digit)))
    return Answer(tuple(entries), whole=True)


def _parse_triples(text: str, marked: bool) -> Answer | None:
    entries = []
    position = 0
    while found := _TRIPLE.match(text, position):
        # No board has numbers of three digits; a longer one must not become a huge integer.
        entries.append(Entry(*(int(number[:3]) for number in found.groups())))
        position = found.end()
    rest = text[position:].lstrip(" .")
    # Words may follow a marked answer; half an entry may not.
    if not entries or _STRAY.match(rest) or (rest and not marked):
        return None
    return Answer(tuple(entries))


def write(entries: Sequence[Entry]) -> str:
    """Return `entries` as `parse` reads them."""
    return "; ".join(f"{e.row} {e.column} {e.digit}" for e in entries) or "none"


def apply(answer: Answer, grid: Grid, clues: Grid, size: int, limit: int) -> Effect:
    """Return what `answer` does to `grid` when a turn may commit `limit` entries.

    An entry on a clue, or for a cell or digit that does not exist, is refused. Any other one takes effect,
    also on a cell that is filled, so that mistakes can be mended. Of a full grid only the cells that differ
    count.
    """
    cells = list(grid)
    applied: list[Entry] = []
    clue_overwrites = out_of_range = over_limit = 0
    for entry in answer.entries:
        if not (1 <= entry.row <= size and 1 <= entry.column <= size and 0 <= entry.digit <= size):
            out_of_range += 1
            continue
        cell = (entry.row - 1) * size + entry.column - 1
        if answer.whole and cells[cell] == entry.digit:
            continue
        if clues[cell]:
            clue_overwrites += 1
        elif len(applied) == limit:
            over_limit += 1
        else:
            cells[cell] = entry.digit
            applied.append(entry)
    return Effect(tuple(cells), tuple(applied), clue_overwrites, out_of_range, over_limit)
