"""Splits, puzzle files and the shared puzzle collections."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from pettingllms.api import SPLITS, ConfigError, Task
from pettingllms_envs_games.sudoku.env import SudokuEnvironment
from pettingllms_envs_games.sudoku.grid import is_solved, parse_puzzle, to_text
from pettingllms_envs_games.sudoku.options import SudokuOptions
from pettingllms_envs_games.sudoku.solver import completions, solve
from pettingllms_envs_games.sudoku.suite import SudokuSuite
from pettingllms_envs_games.sudoku.symmetry import fingerprint, split_of


def marks(suite: SudokuSuite, split: Any, count: int) -> set[str]:
    size = suite.options.size
    return {
        fingerprint(parse_puzzle(suite.task(split, index).data["puzzle"], size), size)
        for index in range(min(count, suite.size(split)))
    }


@pytest.mark.parametrize("size", [4, 6, 9])
def test_splits_are_disjoint_by_content(size: Any) -> None:
    suite = SudokuSuite(SudokuOptions(size=size))
    found = {split: marks(suite, split, 400 if size == 4 else 25) for split in SPLITS}
    assert all(split_of(mark) == split for split, some in found.items() for mark in some)
    assert not found["train"] & found["test"]
    assert not found["train"] & found["validation"]
    assert not found["validation"] & found["test"]
    # The predecessor had one puzzle for all seeds.
    assert len(found["train"]) > (200 if size == 4 else 24)


def test_only_the_train_split_follows_the_seed() -> None:
    options = SudokuOptions()
    first, second = SudokuSuite(options, seed=0), SudokuSuite(options, num_tasks=7, seed=1)
    assert second.size("train") == 7
    assert (first.size("validation"), first.size("test")) == (200, 1000)
    for index in range(5):
        assert first.task("train", index) != second.task("train", index)
        assert first.task("train", index) == SudokuSuite(options).task("train", index)
        for split in ("validation", "test"):
            assert first.task(split, index) == second.task(split, index)
    ids = {suite.task(split, index).id for suite in (first, second) for split in SPLITS for index in range(7)}
    assert len(ids) == 7 * 4


def test_tasks_carry_labels_and_know_their_bounds() -> None:
    suite = SudokuSuite(SudokuOptions(min_empty=8, max_empty=8))
    task = suite.task("test", 999)
    assert task.labels == {"source": "generated", "size": 4, "empty": 8, "band": "medium"}
    assert task.data["puzzle"].count("0") == 8
    for index in (-1, 1000):
        with pytest.raises(IndexError):
            suite.task("test", index)
    with pytest.raises(ConfigError, match="num_tasks must be at least 1"):
        SudokuSuite(SudokuOptions(), num_tasks=0)


@pytest.mark.parametrize(("size", "low", "high"), [(4, 1, 2), (4, 11, 11), (6, 24, 24), (9, 54, 54)])
def test_the_narrowest_bands_have_tasks_in_every_split(size: Any, low: int, high: int) -> None:
    suite = SudokuSuite(SudokuOptions(size=size, min_empty=low, max_empty=high))
    for split in SPLITS:
        assert low <= int(suite.task(split, 0).labels["empty"]) <= high


def test_a_thousand_small_boards_are_quick() -> None:
    suite = SudokuSuite(SudokuOptions(), seed=77)
    began = time.process_time()
    for index in range(1000):
        suite.task("train", index)
    assert time.process_time() - began < 3.0


def write_puzzles(path: Path, count: int, form: str) -> list[str]:
    suite = SudokuSuite(SudokuOptions(), seed=5)
    puzzles = [suite.task(split, index).data["puzzle"] for index in range(count) for split in SPLITS]
    if form == "jsonl":
        lines = [
            json.dumps({"puzzle": p, "solution": to_text(solve(parse_puzzle(p, 4), 4) or ())})
            for p in puzzles
        ]
    else:
        lines = ["# digits", *(p.replace("0", ".") for p in puzzles), ""]
    path.write_text("\n".join(lines))
    return puzzles


@pytest.mark.parametrize("form", ["jsonl", "digits"])
def test_files_are_split_by_content(tmp_path: Path, form: str) -> None:
    path = tmp_path / "puzzles"
    puzzles = write_puzzles(path, 6, form)
    options = SudokuOptions(puzzles=str(path))
    suite = SudokuSuite(options)
    read = {
        split: [suite.task(split, i).data["puzzle"] for i in range(suite.size(split))] for split in SPLITS
    }
    assert sorted(p for some in read.values() for p in some) == sorted(puzzles)
    assert all(
        split_of(fingerprint(parse_puzzle(p, 4), 4)) == split for split, some in read.items() for p in some
    )
    other = SudokuSuite(options, num_tasks=3, seed=9)
    assert other.size("train") == 3
    assert [other.task("test", i) for i in range(6)] == [suite.task("test", i) for i in range(6)]
    assert [suite.task("train", i) for i in range(3)] != [other.task("train", i) for i in range(3)]


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        (None, {}, "cannot be read: No such file or directory; give a text file"),
        ("", {}, "holds no puzzle"),
        ("0000\n", {}, "line 1: Sudoku puzzle '0000' has 4 cells"),
        ("\n" + "0" * 80 + "1", {}, "line 2: .* has 81 cells; set size=9"),
        ('{"board": 1}', {}, "line 1: no text field 'puzzle'"),
        ('{"puzzle": ', {}, "line 1: not JSON"),
        ('{"puzzle": "1000000000000000", "solution": "1111222233334444"}', {}, "does not solve the puzzle"),
        (
            "1000020000300004",
            {"cells_per_turn": 2},
            "line 1: 12 empty cells, .* = 8 entries; raise max_turns",
        ),
        ("1000020000300004", {"max_empty": 5}, "holds no puzzle with 1 to 5 empty cells"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str | None, options: dict[str, Any], reason: str) -> None:
    path = tmp_path / "puzzles.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=reason) as caught:
        SudokuSuite(SudokuOptions(puzzles=str(path), **options))
    assert "\n" not in str(caught.value)


def test_an_empty_split_and_a_puzzle_without_completion_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("1000020000300004")
    suite = SudokuSuite(SudokuOptions(puzzles=str(path)))
    empty = [
        split for split in SPLITS if split != split_of(fingerprint(parse_puzzle("1000020000300004", 4), 4))
    ]
    assert len(empty) == 2
    for split in empty:
        with pytest.raises(ConfigError, match=f"none of its puzzles belongs to the {split} split"):
            suite.size(split)
    path.write_text("1200003400000000\n")
    suite = SudokuSuite(SudokuOptions(puzzles=str(path)))
    split = split_of(fingerprint(parse_puzzle("1200003400000000", 4), 4))
    with pytest.raises(ConfigError, match="no completion"):
        suite.task(split, 0)


def shared_puzzles() -> Path:
    root = Path(os.environ.get("PETTINGLLMS_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (root / "games" / "sudoku").is_dir():
        pytest.skip("no shared data here; set PETTINGLLMS_TEST_DATA")
    return root / "games" / "sudoku"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("4x4_dev", 4),
        ("4x4_reasoning_gym_dev", 4),
        ("6x6_dev", 6),
        ("9x9_easy50", 9),
        ("9x9_mixed_dev", 9),
        ("9x9_reasoning_gym_dev", 9),
        ("9x9_top95", 9),
    ],
)
def test_shared_puzzles_are_solved_and_graded(name: str, size: Any) -> None:
    """The expert solves each, the given answer is graded as right, and a spoilt one as wrong."""
    path = shared_puzzles() / f"{name}.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    options = SudokuOptions(size=size, players="single", puzzles=str(path))
    env = SudokuEnvironment(options)
    whole = SudokuEnvironment(SudokuOptions(size=size, players="single", cells_per_turn=81))
    assert sum(SudokuSuite(options).size(split) for split in SPLITS) == len(records)

    async def check() -> None:
        for record in records:
            task = Task("x", {"puzzle": record["puzzle"]})
            state = env.start(task, 0)
            assert len(completions(state.clues, size)) == record.get("n_solutions", 1)
            while (role := env.acting_role(state)) is not None:
                state = (await env.step(state, role, env.expert(state, role))).state
            assert env.outcome(state).success
            assert is_solved(state.grid, state.clues, size)
            first = whole.start(task, 0)
            graded = await whole.step(first, "player", f"#### {record['solution']} is the answer")
            assert graded.facts["solved"]
            assert graded.facts["legal"]
            cell = record["puzzle"].index("0")
            digits = list(record["solution"])
            digits[cell] = str(int(digits[cell]) % size + 1)
            assert not (await whole.step(first, "player", "".join(digits))).facts["solved"]

    asyncio.run(check())
