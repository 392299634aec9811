from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pettingllms.api import ConfigError
from pettingllms_envs_games.sokoban.levels import parse_level, parse_levels, read_levels
from pettingllms_envs_games.sokoban.options import SokobanOptions
from pettingllms_envs_games.sokoban.parsing import parse_moves
from pettingllms_envs_games.sokoban.rules import canonical, draw, play

ROOM = ["######", "#@   #", "# $  #", "#  . #", "#    #", "######"]


def test_moves_push_and_are_skipped_when_illegal() -> None:
    level = parse_level(ROOM)
    effect = play(level.rows, level.player, level.boxes, "RD")
    assert (effect.player, effect.boxes, effect.made) == ((2, 2), ((3, 2),), "RD")
    blocked = play(level.rows, level.player, level.boxes, "ULRDDD")  # two walls, then a box at the wall
    assert (blocked.illegal, blocked.made, blocked.boxes) == (3, "RDD", ((4, 2),))
    two = parse_level(["#######", "#@$$ .#", "#    .#", "#######"])
    assert play(two.rows, two.player, two.boxes, "R").illegal == 1  # two boxes in a row do not move


def test_moves_after_the_solving_one_are_not_made() -> None:
    level = parse_level(["######", "#@$. #", "######"])
    effect = play(level.rows, level.player, level.boxes, "RRRL")
    assert (effect.solved, effect.made, effect.boxes) == (True, "R", ((1, 3),))


def test_marks_of_the_player_and_boxes_on_goals_survive() -> None:
    rows = ("#######", "#+ *$ #", "#######")
    level = parse_level(rows)
    assert level.rows == ("#######", "#. .  #", "#######")
    assert draw(level.rows, level.player, level.boxes) == rows


def test_other_floor_marks_and_ragged_rows_are_read() -> None:
    level = parse_level(["  ####", "###--#", "#@_$.#", "######"])
    assert level.rows == ("######", "###  #", "#   .#", "######")


def test_canonical_is_shared_by_turned_and_mirrored_boards_only() -> None:
    turned = ["".join(column) for column in zip(*ROOM[::-1], strict=True)]
    mirrored = [row[::-1] for row in turned]
    assert canonical(tuple(ROOM)) == canonical(tuple(turned)) == canonical(tuple(mirrored))
    moved = ["######", "# @  #", *ROOM[2:]]
    assert canonical(tuple(moved)) != canonical(tuple(ROOM))


XSB = """; a collection
Title: first

  #####
  #@$.#
  #####
Author: nobody

second
#####
#.$@#
#####
"""


def test_xsb_and_boxoban_files(tmp_path: Path) -> None:
    first, second = parse_levels(XSB, "x")
    assert (first.player, second.player) == ((1, 3), (1, 3))
    boxoban = "; 0\r\n#####\r\n#@$.#\r\n#####\r\n\r\n; 1\r\n#####\r\n#.$@#\r\n#####\r\n"
    path = tmp_path / "levels.txt"
    path.write_bytes(boxoban.encode())
    assert [level.player for level in read_levels(path)] == [(1, 1), (1, 3)]


GOOD = "; 0\n#####\n#@$.#\n#####\n\n; 1\n"


@pytest.mark.parametrize(
    ("board", "why"),
    [
        ("#####\n# $.#\n#####", "no player"),
        ("######\n#@@$.#\n######", "2 players"),
        ("#####\n#@ .#\n#####", "no box"),
        ("######\n#@$..#\n######", "1 box but 2 goals"),
        ("#####\n#@*##\n#####", "every box is on a goal already"),
        ("#####\n#@$.x\n#####", "unreadable character 'x' in row 2, column 5"),
        ("#####\n#@$. \n#####", "the walls do not enclose"),
        ("#####\n#@$.#", "smaller than 3 by 3"),
        ("#####\n#@$.#\n## ##\n", "the walls do not enclose"),
        ("#####\n#@$ #\n#####\n.", "the goal in row 4, column 1 is outside"),
    ],
)
def test_odd_boards_are_refused_in_one_line(board: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_levels(GOOD + board + "\n", "some/file.txt")
    text = str(caught.value)
    assert text.startswith("some/file.txt: level 2 (line 7): ")
    assert why in text
    assert "\n" not in text


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read level file .*gone"):
        read_levels(tmp_path / "gone")
    (tmp_path / "empty").write_text("; nothing\n")
    with pytest.raises(ConfigError, match="no Sokoban level"):
        read_levels(tmp_path / "empty")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_levels(tmp_path / "binary")


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("U R R D", "URRD"),
        ("urrd", "URRD"),
        ("up, right -> Down.", "URD"),
        ("[U, 'L']", "UL"),
        ("← ↑", "LU"),
        ("I go around it.\n**Moves:** U U\nno:\nMoves: L, L", "LL"),
        ("think\n#### R R", "RR"),
        ("Answer:\n```text\nR D\n```", "RD"),
        ("```R D```", "RD"),
        ("<think>U or D? Moves: U</think>\nD", "D"),
        ("none", ""),
        ("Moves: none", ""),
        ("", None),
        ("Moves:", None),
        ("go up", None),
        ("U R X", None),
        ("U 2", None),
        ("I will push the box", None),
    ],
)
def test_moves_are_read_from_responses(text: str, moves: str | None) -> None:
    assert parse_moves(text) == moves


@given(st.text(max_size=200) | st.text("UDLRudlr \n`#:Moves", max_size=60))
def test_any_text_is_moves_or_nothing(text: str) -> None:
    assert set(parse_moves(text) or "") <= set("UDLR")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 4}, "size must be a whole number from 5 to 20, not 4"),
        ({"boxes": True}, "boxes must be a whole number"),
        ({"players": "both"}, "players must be 'team' or 'single'"),
        ({"min_solution": 9, "max_solution": 8}, "min_solution 9 is above max_solution 8"),
        ({"max_solution": 17}, "max_solution 17 is more than max_turns \\* moves_per_turn = 16"),
        ({"min_solution": 20}, "at least 20 moves cannot be solved"),
        ({"levels": "x.txt", "min_solution": 3}, "are for generated rooms"),
        ({"levels": ""}, "levels must be the path"),
    ],
)
def test_bad_options_are_one_clear_line(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        SokobanOptions(**options)  # type: ignore[arg-type]
