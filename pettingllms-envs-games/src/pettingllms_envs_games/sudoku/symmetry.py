"""A fingerprint of a puzzle that its symmetries leave unchanged, and the split that it decides.

Renaming digits, exchanging rows within a band, bands, columns within a stack or stacks, and transposing all
turn a puzzle into the same problem in another coat. A split decided by exact text would put one coat into
``train`` and another into ``test``. So it is decided by colour refinement (Weisfeiler and Leman, 1968):
cells start as given or empty and take up, round by round, the colours of their row, column, box and equal
digits; the multiset of colours is the fingerprint. Equal puzzles always share it; unequal puzzles rarely
do, which costs nothing here.
"""

from __future__ import annotations

import hashlib

from pettingllms.api import Split
from pettingllms_envs_games.sudoku.grid import Grid, units

_ROUNDS = 3
_BITS = (1 << 64) - 1


def _mix(value: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a bijection that scatters 64 bits."""
    value &= _BITS
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _BITS
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _BITS
    return value ^ (value >> 31)


def fingerprint(clues: Grid, size: int) -> str:
    """Return 16 hexadecimal digits, the same for every symmetric copy of `clues`."""
    shapes = units(size)
    rows, columns, boxes = shapes[:size], shapes[size : 2 * size], shapes[2 * size :]
    same = [tuple(cell for cell, d in enumerate(clues) if d == digit) for digit in range(1, size + 1)]
    colours = [_mix(2 if digit else 1) for digit in clues]
    for _ in range(_ROUNDS):
        news = [3 * colour for colour in colours]
        # Rows and columns weigh the same, so that transposing changes nothing.
        for kind, weight in ((rows, 5), (columns, 5), (boxes, 7), (same, 11)):
            for cells in kind:
                share = weight * _mix(weight + sum(colours[cell] for cell in cells))
                for cell in cells:
                    news[cell] += share
        colours = [_mix(new) for new in news]
    text = f"{size}:{sum(colours) & _BITS:016x}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def split_of(mark: str) -> Split:
    """Return the split of a `fingerprint`: 70% train, 10% validation, 20% test."""
    share = int(mark, 16) % 10
    if share == 0:
        return "validation"
    return "test" if share <= 2 else "train"
