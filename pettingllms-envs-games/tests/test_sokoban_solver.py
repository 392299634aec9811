from __future__ import annotations

import collections
import time
from itertools import pairwise
from pathlib import Path

import pytest

from pettingllms.api import SPLITS, ConfigError
from pettingllms_envs_games.sokoban import solver
from pettingllms_envs_games.sokoban.generate import generate, room_key
from pettingllms_envs_games.sokoban.levels import parse_level
from pettingllms_envs_games.sokoban.options import SokobanOptions
from pettingllms_envs_games.sokoban.rules import Level, draw, play
from pettingllms_envs_games.sokoban.solver import remaining, solve
from pettingllms_envs_games.sokoban.suite import SokobanSuite, split_of

ROWS_TEST_0 = ["######", "#    #", "#$  ##", "#.  ##", "#  @ #", "######"]
MOVES_TEST = [6, 5, 7, 5, 10, 2, 2, 3, 3, 9, 9, 11]

KNOWN = [
    (["#####", "#@$.#", "#####"], 1),
    (["######", "#. $@#", "######"], 2),
    (["######", "# .  #", "# $  #", "#  @ #", "######"], 2),
    (["######", "#@   #", "# $ .#", "#    #", "######"], 3),
    # Round the box first: the goal lies on the player's side.
    (["#######", "#     #", "# .@$ #", "#     #", "#######"], 6),
    (["#######", "#.@$ .#", "#  $  #", "#     #", "#     #", "#######"], 8),
]


def breadth_first(level: Level) -> int | None:
    """An independent oracle: forward search with the rules alone."""
    start = (level.player, level.boxes)
    seen = {start}
    queue = collections.deque([(start, 0)])
    while queue:
        (player, boxes), moves = queue.popleft()
        for letter in "UDLR":
            effect = play(level.rows, player, boxes, letter)
            if effect.solved:
                return moves + 1
            following = (effect.player, effect.boxes)
            if following not in seen:
                seen.add(following)
                queue.append((following, moves + 1))
    return None


@pytest.mark.parametrize(("rows", "moves"), KNOWN)
def test_known_optimal_lengths(rows: list[str], moves: int) -> None:
    level = parse_level(rows)
    found = solve(level.rows, level.player, level.boxes)
    assert (found.status, found.optimal, len(found.moves)) == ("solved", True, moves)
    assert play(level.rows, level.player, level.boxes, found.moves).solved
    assert breadth_first(level) == moves


def test_search_and_table_agree_with_plain_breadth_first(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = [generate(f"oracle/{i}", 6, 1 + i % 2, (1, 18)) for i in range(30)]
    by_table = [solve.__wrapped__(g.level.rows, g.level.player, g.level.boxes) for g in levels]
    monkeypatch.setattr(solver, "TABLE_STATES", 0)
    for made, table in zip(levels, by_table, strict=True):
        level = made.level
        search = solve.__wrapped__(level.rows, level.player, level.boxes)
        assert search.optimal
        assert search.nodes > 0
        assert len(search.moves) == len(table.moves) == made.solution_moves == breadth_first(level)
        assert play(level.rows, level.player, level.boxes, search.moves).solved
        bound = remaining(level.rows, level.player, level.boxes)
        assert not bound.exact
        assert bound.moves is not None
        assert 0 < bound.moves <= made.solution_moves


@pytest.mark.parametrize("table_states", [0, solver.TABLE_STATES])
def test_dead_positions_are_proven_so(monkeypatch: pytest.MonkeyPatch, table_states: int) -> None:
    monkeypatch.setattr(solver, "TABLE_STATES", table_states)
    corner = parse_level(["######", "#$   #", "#  . #", "#  @ #", "######"])
    assert solve.__wrapped__(corner.rows, corner.player, corner.boxes).status == "unsolvable"
    assert remaining(corner.rows, corner.player, corner.boxes).moves is None
    square = parse_level(["#######", "#     #", "# $$  #", "# $$  #", "#@....#", "#######"])
    assert solve.__wrapped__(square.rows, square.player, square.boxes).status == "unsolvable"


def test_every_distance_of_a_table_is_one_move_from_the_next() -> None:
    level = parse_level(["#######", "#.@$ .#", "#  $  #", "#     #", "#     #", "#######"])
    left = remaining(level.rows, level.player, level.boxes)
    moves = solve(level.rows, level.player, level.boxes).moves
    distances = [left.moves]
    for i in range(len(moves)):
        effect = play(level.rows, level.player, level.boxes, moves[: i + 1])
        distances.append(remaining(level.rows, effect.player, effect.boxes).moves)
    assert distances == list(range(8, -1, -1))
    assert all(a is not None and b is not None and a - b == 1 for a, b in pairwise(distances))


def test_the_node_limit_is_reported() -> None:
    made = generate("limit", 9, 3, (10, 30))
    level = made.level
    cut = solve(level.rows, level.player, level.boxes, 1)
    assert (cut.status, cut.moves, cut.nodes) == ("limit", "", 1)


def test_past_the_node_limit_a_longer_solution_is_found_and_said_to_be_so() -> None:
    level = generate("limit/6", 9, 3, (12, 30)).level
    hurried = solve(level.rows, level.player, level.boxes, 10)
    assert (hurried.status, hurried.optimal) == ("solved", False)
    assert play(level.rows, level.player, level.boxes, hurried.moves).solved
    assert len(hurried.moves) > len(solve(level.rows, level.player, level.boxes).moves)


def test_bands_hold_and_are_met_by_the_search_on_large_rooms() -> None:
    small = [generate(f"band/{i}", 6, 1, (7, 9)) for i in range(20)]
    assert {made.solution_moves for made in small} == {7, 8, 9}
    large = [generate(f"large/{i}", 9, 3, (5, 20)) for i in range(5)]
    for made in small + large:
        level = made.level
        assert len(solve(level.rows, level.player, level.boxes).moves) == made.solution_moves
    assert all(5 <= made.solution_moves <= 20 and len(made.level.boxes) == 3 for made in large)


def test_an_impossible_band_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pettingllms_envs_games.sokoban.generate._TRIES", 50)
    with pytest.raises(ConfigError, match=r"no Sokoban room of size 5 with 1 .* 90 to 90 moves"):
        generate("never", 5, 1, (90, 90))


def test_splits_are_disjoint_by_room_and_held_out_ones_ignore_the_seed() -> None:
    options = SokobanOptions()
    suite, other = SokobanSuite(options), SokobanSuite(options, num_tasks=50, seed=1)
    assert [suite.size(split) for split in SPLITS] == [100_000, 200, 1000]
    assert other.size("train") == 50
    for split in SPLITS:
        for index in range(60):
            task = suite.task(split, index)
            assert split_of(room_key(parse_level(task.data["rows"]).rows)) == split
            assert split != "train" or index >= 50 or task != other.task(split, index)
            assert split == "train" or task == other.task(split, index)
        for beyond in (suite.size(split), -1):
            with pytest.raises(IndexError):
                suite.task(split, beyond)


def test_tasks_are_stable_between_versions_of_python_and_of_this_package() -> None:
    assert SokobanSuite(SokobanOptions()).version == "1-6x6-1box-2to10"
    suite = SokobanSuite(SokobanOptions(max_solution=16))
    assert suite.version == "1-6x6-1box-2to16"
    assert suite.task("test", 0).data["rows"] == ROWS_TEST_0
    assert [suite.task("test", i).labels["solution_moves"] for i in range(12)] == MOVES_TEST


def test_lengths_spread_over_the_whole_band() -> None:
    suite = SokobanSuite(SokobanOptions(max_solution=16))
    began = time.perf_counter()
    tasks = [suite.task("validation", i) for i in range(200)]
    assert time.perf_counter() - began < 10  # measured: 0.2 s
    lengths = collections.Counter(int(task.labels["solution_moves"]) for task in tasks)
    assert set(lengths) == set(range(2, 17))
    assert {task.labels["band"] for task in tasks} == {"easy", "medium", "hard"}
    assert len({tuple(task.data["rows"]) for task in tasks}) > 190


def test_a_level_file_is_split_by_content(tmp_path: Path) -> None:
    rooms = [generate(f"file/{i}", 7, 1, (2, 12)).level for i in range(20)]
    text: list[str] = []
    for number, level in enumerate(rooms):
        rows = draw(level.rows, level.player, level.boxes)
        mirrored = [row[::-1] for row in rows]
        text += [f"; {number}", *rows, "", *mirrored, ""]
    path = tmp_path / "levels.xsb"
    path.write_text("\n".join(text))
    suite = SokobanSuite(SokobanOptions(levels=str(path)))
    assert {split: suite.size(split) for split in SPLITS} == {"train": 32, "validation": 4, "test": 4}
    seen: dict[tuple[str, ...], str] = {}
    for split in SPLITS:
        for index in range(suite.size(split)):
            task = suite.task(split, index)
            key = min(tuple(task.data["rows"]), tuple(row[::-1] for row in task.data["rows"]))
            assert seen.setdefault(key, split) == split
            assert task.labels["source"] == "file"
    assert len(seen) == 20
    reordered = SokobanSuite(SokobanOptions(levels=str(path)), seed=1)
    order = [suite.task("train", i).id for i in range(32)]
    assert order != [reordered.task("train", i).id for i in range(32)]
    assert suite.task("test", 0) == reordered.task("test", 0)
    path.write_text("\n".join(text[:9]))
    with pytest.raises(ConfigError, match="cannot be split into train, validation and test"):
        SokobanSuite(SokobanOptions(levels=str(path)))
