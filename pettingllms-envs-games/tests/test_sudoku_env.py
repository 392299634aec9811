"""The environment, its rewards and its registration."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pettingllms.api import ConfigError, EnvironmentFault, Task, Transition, from_json, to_json
from pettingllms.testing import check_environment, parts_of
from pettingllms_envs_games import plugin
from pettingllms_envs_games.sudoku import roles
from pettingllms_envs_games.sudoku.env import SudokuEnvironment
from pettingllms_envs_games.sudoku.grid import is_solved, open_cells, to_text
from pettingllms_envs_games.sudoku.options import SudokuOptions
from pettingllms_envs_games.sudoku.rewards import (
    SudokuReward,
    SudokuRewardOptions,
    SudokuSparseReward,
    SudokuSparseRewardOptions,
)
from pettingllms_envs_games.sudoku.solver import completions
from pettingllms_envs_games.sudoku.state import SudokuState
from pettingllms_envs_games.sudoku.suite import SudokuSuite

PUZZLE = "1_3__41__1____21"  # one completion: 1234 3412 2143 4321
TWINS = "1000020000300004"
GARBAGE = ("", "no idea", "####", "9 9 9", "1 1 4", "(" * 5000)


def begin(puzzle: str = PUZZLE, **options: Any) -> tuple[SudokuEnvironment, SudokuState]:
    env = SudokuEnvironment(SudokuOptions(**options))
    return env, env.start(Task("t", {"puzzle": puzzle}), 0)


def go(env: SudokuEnvironment, state: SudokuState, text: str) -> Transition[SudokuState]:
    role = env.acting_role(state)
    assert role is not None
    return asyncio.run(env.step(state, role, text))


def view(env: SudokuEnvironment, state: SudokuState) -> str:
    role = env.acting_role(state)
    assert role is not None
    return env.observe(state, role).messages[0].content


def play(env: SudokuEnvironment, state: SudokuState, how: str, rng: random.Random) -> SudokuState:
    while (role := env.acting_role(state)) is not None:
        text = env.expert(state, role) if how == "expert" else env.random_response(state, role, rng)
        state = go(env, state, text).state
    return state


@pytest.mark.parametrize("size", [4, 6, 9])
@pytest.mark.parametrize("players", ["team", "single"])
def test_expert_solves_and_random_play_does_not(size: Any, players: Any) -> None:
    options = SudokuOptions(size=size, players=players)
    env, suite, rng = SudokuEnvironment(options), SudokuSuite(options), random.Random(1)
    lucky = 0
    for index in range(8):
        task = suite.task("test", index)
        final = play(env, env.start(task, 0), "expert", rng)
        assert env.outcome(final).success
        assert env.outcome(final).score == 1.0
        assert is_solved(final.grid, final.clues, size)
        lucky += env.outcome(play(env, env.start(task, 0), "random", rng)).success
    assert lucky <= 1


@pytest.mark.parametrize("players", ["team", "single"])
def test_expert_recovers_from_mistakes(players: Any) -> None:
    env, state = begin(players=players, max_turns=4)
    wrong = "1 2 4; 1 4 4; 2 1 2"
    for _ in env.roles:
        state = go(env, state, wrong).state
    assert "In conflict: 1 2, 1 4" in view(env, state)
    assert env.outcome(play(env, state, "expert", random.Random(0))).success


def test_the_executor_expert_follows_right_proposals_and_replaces_wrong_ones() -> None:
    env, state = begin(cells_per_turn=2, max_turns=6)
    right = go(env, state, "4 4 1; 1 2 2; 1 4 4").state
    assert env.expert(right, "executor") == "1 2 2; 1 4 4"
    assert env.expert(go(env, state, "1 2 4; 1 4 4").state, "executor") == env.expert(state, "planner")


def test_a_constant_grid_solves_only_its_own_puzzle() -> None:
    """The predecessor's checker ignored the clues, so one grid solved all of its puzzles."""
    options = SudokuOptions(players="single", cells_per_turn=16)
    env, suite = SudokuEnvironment(options), SudokuSuite(options)
    solved = 0
    for index in range(60):
        state = env.start(suite.task("test", index), 0)
        step = go(env, state, "1234\n3412\n2143\n4321")
        fits = completions(state.clues, 4) == ((1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1),)
        assert step.facts["solved"] == fits
        assert (int(step.facts["clue_overwrites"]) > 0) == (not fits)
        solved += fits
    assert solved <= 3


def test_any_valid_completion_counts() -> None:
    env, state = begin(TWINS, players="single", cells_per_turn=16)
    whole = completions(state.clues, 4)
    assert len(whole) > 1
    for grid in whole:
        step = go(env, state, to_text(grid))
        assert step.facts["solved"]
        assert step.facts["progress"] == 1.0
        assert env.outcome(step.state).success


def test_a_timeout_is_a_failure() -> None:
    env, state = begin(players="single", max_turns=2)
    state = go(env, state, "1 2 2").state
    step = go(env, state, "none")
    assert env.acting_role(step.state) is None
    assert step.facts["failed"]
    assert step.facts["done"]
    assert not step.facts["solved"]
    assert not env.outcome(step.state).success
    assert env.outcome(step.state).score == pytest.approx(1 / 9)
    assert SudokuReward()(step, "player").team == pytest.approx(-0.51)
    assert SudokuSparseReward()(step, "player").team == -1.0


def test_the_proposal_changes_nothing_and_the_executor_sees_what_it_would_do() -> None:
    env, state = begin()
    step = go(env, state, "1 2 4; 1 4 4; 1 1 2")
    assert step.state.grid == state.grid
    assert (step.facts["applied"], step.facts["clue_overwrites"], step.facts["filled"]) == (2, 1, 0)
    assert (step.facts["progress"], step.facts["would_progress"]) == (0.0, pytest.approx(1 / 9))
    assert not step.facts["solved"]
    assert "Proposal: 1 2 4; 1 4 4. Result: filled 2 of 9, conflicts 2, solved no." in view(env, step.state)
    assert view(env, state) in view(env, step.state)
    assert view(env, go(env, state, "well").state).endswith("Proposal: unreadable.")
    done = go(env, step.state, "1 2 2").state
    assert done.proposal is None
    assert env.acting_role(done) == "planner"


def test_observations_show_the_current_state_in_picture_and_words() -> None:
    env, state = begin(players="single")
    first = view(env, state)
    assert first == (
        "1 _ 3 _\n_ 4 1 _\n_ 1 _ _\n_ _ 2 1\n"
        "Boxes 2x2. Empty: 1 2, 1 4, 2 1, 2 4, 3 1, 3 3, 3 4, 4 1, 4 2. Turn 1 of 4, 4 entries."
    )
    second = view(env, go(env, state, "1 2 2; 1 1 4").state)
    assert second == (
        "1 2 3 _\n_ 4 1 _\n_ 1 _ _\n_ _ 2 1\n"
        "Boxes 2x2. Empty: 1 4, 2 1, 2 4, 3 1, 3 3, 3 4, 4 1, 4 2. Entered: 1 2 2. Turn 2 of 4, 4 entries.\n"
        "Last: 1 2 2. Refused: 1."
    )
    assert view(env, go(env, state, "hm").state).endswith("Last: unreadable.")


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_steps_are_pure_serialise_keep_the_clues_and_stay_bounded(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([4, 6]))
    options = SudokuOptions(size=size, players=data.draw(st.sampled_from(["team", "single"])))
    env, reward, sparse = SudokuEnvironment(options), SudokuReward(), SudokuSparseReward()
    state = env.start(SudokuSuite(options).task("validation", data.draw(st.integers(0, 9))), 0)
    acted = dict.fromkeys(env.roles, 0)
    while (role := env.acting_role(state)) is not None:
        acted[role] += 1
        cells = st.integers(0, size + 1)
        entries = st.lists(st.tuples(cells, cells, cells), max_size=6)
        texts = entries.map(lambda e: "; ".join(f"{r} {c} {d}" for r, c, d in e))
        kind = data.draw(st.sampled_from(["expert", "entries", "garbage"]))
        text = (
            env.expert(state, role)
            if kind == "expert"
            else data.draw(texts if kind == "entries" else st.sampled_from(GARBAGE))
        )
        before = to_json(state)
        first, second = (
            go(env, state, text),
            go(SudokuEnvironment(options), from_json(before, SudokuState), text),
        )
        assert to_json(state) == before
        assert first == second
        assert from_json(to_json(first.state), SudokuState) == first.state
        assert all(not c or c == g for c, g in zip(state.clues, first.state.grid, strict=True))
        for given_by in (reward(first, role), sparse(first, role)):
            assert -2.0 <= given_by.team <= 2.0
            assert -2.0 <= given_by.local <= 2.0
        state = first.state
    assert max(acted.values()) <= env.max_turns
    assert (env.outcome(state).score == 1.0) == env.outcome(state).success


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_sequence_that_returns_to_the_same_board_earns(data: st.DataObject) -> None:
    """Random entries, then whatever leads back to a board seen before: no role may have gained by it."""
    players = data.draw(st.sampled_from(["team", "single"]))
    puzzle = data.draw(st.sampled_from([PUZZLE, TWINS]))
    env, state = begin(puzzle, players=players, max_turns=50, cells_per_turn=16)
    weights = SudokuRewardOptions(
        step_penalty=0.0, conflict_penalty=0.0, refused_penalty=0.0, malformed_penalty=0.0
    )
    rewards = [SudokuReward(weights), SudokuReward(), SudokuSparseReward()]
    home, cells = state.grid, open_cells(state.clues)
    sums = {(n, role, part): 0.0 for n in range(3) for role in env.roles for part in ("team", "local")}

    def act(text: str) -> bool:
        nonlocal state
        for role in env.roles:
            if env.acting_role(state) != role:
                return False
            said = data.draw(st.sampled_from([text, env.expert(state, role)])) if role == "planner" else text
            step = go(env, state, said)
            state = step.state
            for n, reward in enumerate(rewards):
                given_by = reward(step, role)
                sums[n, role, "team"] += given_by.team
                sums[n, role, "local"] += given_by.local
        return env.acting_role(state) is not None

    for _ in range(data.draw(st.integers(1, 4))):
        chosen = data.draw(st.lists(st.tuples(st.sampled_from(cells), st.integers(0, 4)), max_size=5))
        if not act("; ".join(f"{c // 4 + 1} {c % 4 + 1} {d}" for c, d in chosen) or "none"):
            return
    back = [c for c in cells if state.grid[c]]
    act("; ".join(f"{c // 4 + 1} {c % 4 + 1} 0" for c in back) or "none")
    assert state.grid == home
    for key, total in sums.items():
        assert total <= 1e-9, key
    for role in env.roles:
        if role != "planner":
            assert sums[0, role, "team"] == pytest.approx(0.0, abs=1e-9)


def test_rewards_of_a_mixed_turn() -> None:
    env, state = begin(players="single", max_turns=3, cells_per_turn=3)
    # Right; clashing with row 2 (given 1); a clue; cut.
    step = go(env, state, "1 2 2; 2 1 1; 1 1 1; 1 4 4; 2 4 2")
    reward = SudokuReward()(step, "player")
    assert (step.facts["applied"], step.facts["over_limit"], step.facts["clue_overwrites"]) == (3, 1, 1)
    assert reward.parts == pytest.approx(
        {
            "progress": 2 / 9,
            "step": -0.01,
            "success": 0.0,
            "failure": 0.0,
            "conflict": -0.1 / 3,
            "refused": -0.1 * 2 / 5,
            "malformed": 0.0,
        }
    )
    assert reward.team == pytest.approx(2 / 9 - 0.01)
    assert reward.local == pytest.approx(2 / 9 - 0.1 / 3 - 0.04)
    final = go(env, go(env, step.state, "2 1 3; 2 4 2; 3 1 2").state, "3 3 4; 3 4 3; 4 1 4; 4 2 3")
    assert final.facts["failed"]
    assert final.facts["over_limit"] == 1


def test_planner_is_measured_against_the_best_proposal() -> None:
    env, state = begin(cells_per_turn=3, max_turns=4)
    best, half, bad = (
        SudokuReward()(go(env, state, text), "planner")
        for text in ("1 2 2; 1 4 4; 2 1 3", "1 2 2; 1 4 2", "what?")
    )
    assert (best.team, half.team, bad.team) == (0.0, 0.0, 0.0)
    assert best.local == 0.0
    assert half.local == pytest.approx(-2 / 9 - 0.1)  # its two 2s clash
    assert bad.local == pytest.approx(-3 / 9 - 0.2)


@pytest.mark.parametrize(
    ("name", "value"), [("step_penalty", 0.1), ("success_reward", -1.0), ("progress", True)]
)
def test_reward_weights_that_could_pay_for_nothing_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"sudoku reward option {name} must be a number of at"):
        SudokuRewardOptions(**{name: value})
    with pytest.raises(ConfigError, match="failure_reward"):
        SudokuSparseRewardOptions(failure_reward=0.5)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"size": 5}, "size must be 4, 6 or 9, not 5"),
        ({"players": "pair"}, "players must be 'team' or 'single'"),
        ({"min_empty": 9, "max_empty": 7}, "min_empty 9 is above max_empty 7"),
        ({"max_empty": 12}, "can have 11 empty cells, not 12"),
        ({"max_empty": 10, "cells_per_turn": 2}, "= 8 entries; raise max_turns or cells_per_turn"),
        ({"max_empty": 1}, "too few for three splits"),
        ({"cells_per_turn": 0}, "cells_per_turn must be a whole number from 1 to 81"),
        ({"min_empty": True}, "min_empty must be a whole number"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        SudokuOptions(**options)


def test_default_options_leave_the_expert_room() -> None:
    for size, entries in ((4, 4), (6, 7), (9, 17)):
        options = SudokuOptions(size=size)  # type: ignore[arg-type]
        assert options.entries_per_turn == entries
        assert (options.max_turns - 1) * entries >= options.band[1]
    assert SudokuOptions(max_turns=1).entries_per_turn == 10
    assert SudokuOptions(cells_per_turn=1).band == (4, 4)
    assert all(field.metadata["help"] for field in attrs.fields(SudokuOptions))


def test_tasks_and_roles_that_do_not_fit_are_named() -> None:
    env, state = begin()
    for data, reason in (
        ({}, "no text 'puzzle'"),
        ({"puzzle": "12"}, "has 2 cells"),
        ({"puzzle": "0" * 16}, "16 empty"),
    ):
        with pytest.raises(ConfigError, match=reason):
            SudokuEnvironment(SudokuOptions(cells_per_turn=3)).start(Task("x", data), 0)
    with pytest.raises(EnvironmentFault, match="'planner' acts now, not 'executor'"):
        asyncio.run(env.step(state, "executor", "none"))
    with pytest.raises(EnvironmentFault, match="no role 'player'"):
        env.observe(state, "player")


def test_role_prompts_are_short_and_named_after_the_seats() -> None:
    team, single = SudokuEnvironment(SudokuOptions()), SudokuEnvironment(SudokuOptions(players="single"))
    found = {role.name: role for role in (roles.PLANNER, roles.EXECUTOR, roles.PLAYER)}
    assert set(found) == {*team.roles, *single.roles}
    assert all(len(role.system_prompt.split()) <= 45 for role in found.values())


def test_the_plugin_registers_sudoku() -> None:
    specs = {spec.name: spec for spec in plugin.pettingllms_register_environments()}
    rewards = {spec.name for spec in plugin.pettingllms_register_reward_functions()}
    seats = {spec.name for spec in plugin.pettingllms_register_agent_roles()}
    spec = specs["games/sudoku"]
    assert {"games/sudoku", "games/sudoku-sparse"} <= rewards
    assert spec.reward in rewards
    assert set(spec.roles) == {"planner", "executor", "player"}
    assert set(spec.roles.values()) <= seats


def test_render_draws_the_boxes() -> None:
    env, state = begin()
    assert env.render(state).splitlines()[:3] == ["1 _ | 3 _", "_ 4 | 1 _", "----+----"]
    final = play(env, state, "expert", random.Random(0))
    assert "solved in 3 of 4 turns" in env.render(final)


@pytest.mark.parametrize(
    "options", [{}, {"size": 6, "players": "single"}, {"min_empty": 1, "max_empty": 2, "max_turns": 1}]
)
def test_conformance(options: dict[str, Any]) -> None:
    (spec,) = (s for s in plugin.pettingllms_register_environments() if s.name == "games/sudoku")
    for reward in plugin.pettingllms_register_reward_functions():
        if reward.name in ("games/sudoku", "games/sudoku-sparse"):
            parts = parts_of(spec, options, reward=reward)
            check_environment(parts, episodes=4, max_tasks=20, reward_bound=2.0).require()
