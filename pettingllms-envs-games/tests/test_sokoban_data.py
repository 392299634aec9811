"""Every Sokoban level of the shared data."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from pettingllms_envs_games.sokoban.levels import parse_level, read_levels
from pettingllms_envs_games.sokoban.options import SokobanOptions
from pettingllms_envs_games.sokoban.rules import Cell, draw, play
from pettingllms_envs_games.sokoban.solver import solve
from pettingllms_envs_games.sokoban.suite import SokobanSuite


def _folder() -> Path:
    given = os.environ.get("PETTINGLLMS_TEST_DATA")
    root = Path(given) if given else Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return root / "games" / "sokoban"


FILES = sorted((_folder() / "boxoban").rglob("*.txt"))
needs_data = pytest.mark.skipif(not FILES, reason="no level files; set PETTINGLLMS_TEST_DATA")


@needs_data
@pytest.mark.parametrize("path", FILES, ids=lambda path: "-".join(path.parts[-3:]))
def test_every_boxoban_level_reads_back_and_replays(path: Path) -> None:
    levels = read_levels(path)
    boards = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert len(levels) == len(boards) // 10 == 1000
    redrawn = [row for level in levels for row in draw(level.rows, level.player, level.boxes)]
    assert redrawn == boards  # read as they are
    rng = random.Random(0)
    for level in levels:
        assert len(level.boxes) == 4
        moves = "".join(rng.choice("UDLR") for _ in range(60))
        whole = play(level.rows, level.player, level.boxes, moves)
        player, made = level.player, ""
        boxes: tuple[Cell, ...] = level.boxes
        for letter in whole.made:  # the legal moves alone, one at a time
            one = play(level.rows, player, boxes, letter)
            assert one.illegal == 0
            player, boxes, made = one.player, one.boxes, made + one.made
        assert (player, boxes, made) == (whole.player, whole.boxes, whole.made)
        assert len(whole.made) + whole.illegal == 60


@needs_data
def test_some_boxoban_levels_are_solved_optimally_and_split() -> None:
    for path in FILES:
        for level in read_levels(path)[:3]:
            found = solve(level.rows, level.player, level.boxes)
            assert found.optimal
            assert play(level.rows, level.player, level.boxes, found.moves).solved
    suite = SokobanSuite(SokobanOptions(levels=str(FILES[0]), max_turns=50))
    assert (suite.size("train"), suite.size("validation"), suite.size("test")) == (800, 100, 100)


@needs_data
def test_published_solutions_of_small_rooms_are_matched() -> None:
    lines = (_folder() / "gym_sokoban_small_dev.jsonl").read_text().splitlines()
    assert lines
    for line in lines:
        record = json.loads(line)
        level = parse_level(record["level"])
        found = solve(level.rows, level.player, level.boxes)
        assert (len(found.moves), found.optimal) == (record["optimal_moves"], True)
        for key in ("move_optimal_lurd", "push_optimal_lurd"):
            published = play(level.rows, level.player, level.boxes, record[key].upper())
            assert published.solved
            assert published.illegal == 0
