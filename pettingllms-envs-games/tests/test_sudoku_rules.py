"""Grid, solver, generator, fingerprint and the reading of model text."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pettingllms.api import ConfigError
from pettingllms_envs_games.sudoku.generate import generate, generator_of
from pettingllms_envs_games.sudoku.grid import BOXES, Grid, conflicts, is_solved, parse_puzzle, to_text
from pettingllms_envs_games.sudoku.moves import Answer, apply, parse, write
from pettingllms_envs_games.sudoku.solver import (
    MAX_COMPLETIONS,
    completions,
    count_solutions,
    forced,
    nearest,
    random_solution,
    solutions,
    solve,
)
from pettingllms_envs_games.sudoku.state import Entry
from pettingllms_envs_games.sudoku.symmetry import fingerprint

BANDS = {4: (6, 10), 6: (12, 20), 9: (30, 50)}
SIZES = st.sampled_from(sorted(BOXES))


def brute_force(grid: Grid, size: int) -> set[Grid]:
    """All completions, by trying every digit in every empty cell."""
    if conflicts(grid, size):
        return set()
    if 0 not in grid:
        return {grid}
    cell = grid.index(0)
    tries = ((*grid[:cell], digit, *grid[cell + 1 :]) for digit in range(1, size + 1))
    return set().union(*(brute_force(trial, size) for trial in tries))


def test_there_are_288_grids_of_size_4() -> None:
    assert len(set(solutions((0,) * 16, 4))) == 288


@given(st.integers(0, 10**9), st.integers(5, 12))
@settings(max_examples=30, deadline=None)
def test_solver_agrees_with_brute_force(seed: int, given_cells: int) -> None:
    rng = random.Random(seed)
    grid = [0] * 16
    for cell in rng.sample(range(16), given_cells):
        grid[cell] = random_solution(4, random.Random(seed))[cell]
    if rng.random() < 0.3:
        grid[rng.randrange(16)] = rng.randint(1, 4)
    clues = tuple(grid)
    expected = brute_force(clues, 4)
    assert set(solutions(clues, 4)) == expected
    assert count_solutions(clues, 4, limit=2) == min(2, len(expected))
    assert (solve(clues, 4) is None) == (not expected)


@pytest.mark.parametrize("size", sorted(BOXES))
def test_generated_puzzles_have_exactly_one_completion(size: int) -> None:
    for index in range(12):
        clues = generate(size, BANDS[size], generator_of("unique", index))
        assert BANDS[size][0] <= clues.count(0) <= BANDS[size][1]
        assert count_solutions(clues, size, limit=2) == 1
        (solution,) = completions(clues, size)
        assert is_solved(solution, clues, size)
        cell = clues.index(0)
        assert forced(clues, size, cell, solution[cell])
        assert not forced(clues, size, cell, solution[cell] % size + 1)


def test_generator_gives_the_same_puzzles_everywhere() -> None:
    """Pins the generator: a change of Python or of the code that moves tasks must show."""
    text = "".join(to_text(generate(n, BANDS[n], generator_of("pin", n, i))) for n in BANDS for i in range(5))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "f10cb2e3bafb1e09"


@given(SIZES, st.integers(0, 10**9))
@settings(max_examples=30, deadline=None)
def test_symmetric_copies_share_the_fingerprint(size: int, seed: int) -> None:
    rng = random.Random(seed)
    clues = generate(size, BANDS[size], rng)
    height, width = BOXES[size]

    def order(step: int) -> list[int]:
        blocks = [rng.sample(range(start, start + step), step) for start in range(0, size, step)]
        return [line for block in rng.sample(blocks, len(blocks)) for line in block]

    rows, columns = order(height), order(width)
    names = [0, *rng.sample(range(1, size + 1), size)]
    copy = [[names[clues[r * size + c]] for c in columns] for r in rows]
    if height == width and rng.random() < 0.5:
        copy = [list(column) for column in zip(*copy, strict=True)]
    twin = tuple(digit for row in copy for digit in row)
    assert count_solutions(twin, size) == 1
    assert fingerprint(twin, size) == fingerprint(clues, size)
    less = list(clues)
    less[next(cell for cell, digit in enumerate(clues) if digit)] = 0
    assert fingerprint(tuple(less), size) != fingerprint(clues, size)


def test_nearest_is_exact_over_all_completions() -> None:
    clues = parse_puzzle("1000020000300004", 4)
    found = completions(clues, 4)
    assert len(found) > 1
    rng = random.Random(5)
    for _ in range(50):
        grid = tuple(clue or rng.randint(0, 4) for clue in clues)
        best = max(sum(a == b for a, b in zip(grid, s, strict=True)) for s in found) - 4
        assert nearest(grid, clues, 4)[1] == best
    for whole in found:
        assert nearest(whole, clues, 4) == (whole, 12)


def test_a_hopeless_puzzle_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="has no completion; correct its clues"):
        completions(parse_puzzle("1200003400000000", 4), 4)
    with pytest.raises(ConfigError, match=f"more than {MAX_COMPLETIONS} completions"):
        completions((0,) * 36, 6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("123", "has 3 cells; a 4x4 puzzle has 16"),
        ("0" * 81, "has 81 cells; set size=9"),
        ("5000000000000000", "has '5'; a 4x4 puzzle holds 0 to 4"),
        ("1001000000000000", "repeats the 1 of row 1, column 1"),
        ("1234341221434321", "has no empty cell"),
    ],
)
def test_bad_clues_are_named(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_puzzle(text, 4)


ONE_TWO = (Entry(1, 3, 4), Entry(2, 1, 2))


@pytest.mark.parametrize(
    "text",
    [
        "1 3 4; 2 1 2",
        "1 3 4, 2 1 2.",
        "1 3 4\n2 1 2\n",
        "[[1, 3, 4], [2, 1, 2]]",
        "(1,3)=4; (2,1)=2",
        "`1 3 4; 2 1 2`",
        "```\n1 3 4\n2 1 2\n```",
        "#### 1 3 4; 2 1 2",
        "#### [[1,3,4],[2,1,2]] and that should do it. 3 cells stay.",
        "First I tried 4 4 1.\n#### 1 3 4; 2 1 2\nI hope that helps!",
        "#### 3 3 3\nNo, wait.\n#### 1 3 4; 2 1 2",
        "Entries: 1 3 4; 2 1 2",
        "Row 1 lacks 4.\n**Entries:** 1 3 4; 2 1 2",
        "Entries:\n1 3 4\n2 1 2",
        "<think>1 1 1; 2 2 2\n#### 9</think>1 3 4; 2 1 2",
    ],
)
def test_entries_are_read(text: str) -> None:
    assert parse(text, 4) == Answer(ONE_TWO)
    assert parse(write(ONE_TWO), 4) == Answer(ONE_TWO)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "####",
        "Entries:",
        "1 3",
        "1 3 4 2",
        "#### 1 3 4; 2 1",
        "I put 4 in row 1.",
        "1 3 4 then done",
        "1.5 3 4",
    ],
)
def test_unreadable_answers_are_none(text: str) -> None:
    assert parse(text, 4) is None


@pytest.mark.parametrize(
    "text",
    [
        "2143\n3412\n12_4\n4321",
        "2 1 4 3\n3 4 1 2\n1 2 . 4\n4 3 2 1",
        "2143341212043421".replace("3421", "4321"),
        "[[2,1,4,3],[3,4,1,2],[1,2,0,4],[4,3,2,1]]",
        "The grid:\n#### [[2,1,4,3],[3,4,1,2],[1,2,0,4],[4,3,2,1]] Done.",
    ],
)
def test_full_grids_are_read(text: str) -> None:
    answer = parse(text, 4)
    assert answer is not None
    assert answer.whole
    clues = parse_puzzle("2100001212040021", 4)
    effect = apply(answer, clues, clues, 4, limit=16)
    assert to_text(effect.grid) == "2143341212044321"
    assert effect.clue_overwrites == effect.refused == 0


@given(st.text(max_size=60) | st.text("0123456789 ;,[]#\nEntris:._`", max_size=80), SIZES)
@settings(max_examples=300, deadline=None)
def test_no_text_hurts_and_no_answer_touches_a_clue(text: str, size: int) -> None:
    answer = parse(text, size)
    if answer is not None:
        clues = generate(size, BANDS[size], generator_of("touch", size))
        effect = apply(answer, clues, clues, size, limit=5)
        assert all(not clue or clue == digit for clue, digit in zip(clues, effect.grid, strict=True))
        assert len(effect.applied) <= 5
        assert set(effect.grid) <= set(range(size + 1))


def test_refused_entries_are_counted_and_the_rest_takes_effect() -> None:
    clues = parse_puzzle("1000020000300004", 4)
    answer = parse("1 1 2; 5 1 1; 1 2 5; 1 2 3; 1 2 0; 1 3 4; 2 1 3", 4)
    assert answer is not None
    effect = apply(answer, clues, clues, 4, limit=3)
    assert (effect.clue_overwrites, effect.out_of_range, effect.over_limit) == (1, 2, 1)
    assert to_text(effect.grid) == "1040020000300004"


def test_a_valid_grid_that_changes_a_clue_is_no_solution() -> None:
    grid = tuple(map(int, "1234341221434321"))
    assert is_solved(grid, parse_puzzle("1000000000000001", 4), 4)
    assert not is_solved(grid, parse_puzzle("2000000000000001", 4), 4)
    assert not is_solved((*grid[:15], 0), (0,) * 16, 4)
    assert not is_solved((1, 2, 3, 4) * 4, (0,) * 16, 4)
