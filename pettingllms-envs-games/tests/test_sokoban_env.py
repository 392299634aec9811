from __future__ import annotations

import asyncio
import itertools
import math
import random
import re
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pettingllms.api import ConfigError, Environment, Reward, Task, Transition, from_json, to_json
from pettingllms.testing import check_environment
from pettingllms_envs_games.plugin import (
    pettingllms_register_agent_roles,
    pettingllms_register_environments,
    pettingllms_register_reward_functions,
)
from pettingllms_envs_games.sokoban import roles
from pettingllms_envs_games.sokoban.env import STEEPNESS, SokobanEnvironment, potential
from pettingllms_envs_games.sokoban.options import SokobanOptions
from pettingllms_envs_games.sokoban.rewards import (
    SokobanReward,
    SokobanRewardOptions,
    SokobanSparseReward,
    SokobanSparseRewardOptions,
)
from pettingllms_envs_games.sokoban.rules import draw, goals_of
from pettingllms_envs_games.sokoban.solver import Estimate, remaining
from pettingllms_envs_games.sokoban.state import SokobanState
from pettingllms_envs_games.sokoban.suite import SokobanSuite

LEVEL = Task("t", {"rows": ["######", "#@   #", "# $ .#", "#    #", "######"]})  # three moves: D R R
TEAM = SokobanEnvironment(SokobanOptions())
SINGLE = SokobanEnvironment(SokobanOptions(players="single", max_turns=8, moves_per_turn=2))
REWARDS = (SokobanReward(), SokobanSparseReward())

responses = st.lists(st.sampled_from("UDLR"), max_size=6).map(" ".join) | st.sampled_from(
    ["", "none", "nonsense", "Moves: U D U D"]
)


def step(env: SokobanEnvironment, state: SokobanState, response: str) -> Transition[SokobanState]:
    role = env.acting_role(state)
    assert role is not None
    return asyncio.run(env.step(state, role, response))


def text(env: SokobanEnvironment, state: SokobanState) -> str:
    role = env.acting_role(state)
    assert role is not None
    return env.observe(state, role).messages[0].content


def test_the_team_proposes_then_moves() -> None:
    state = TEAM.start(LEVEL, 0)
    assert isinstance(TEAM, Environment)
    assert (TEAM.roles, TEAM.acting_role(state)) == (("planner", "executor"), "planner")
    board = (
        "# # # # # #\n# @ _ _ _ #\n# _ $ _ . #\n# _ _ _ _ #\n# # # # # #\n"
        "Player 2 2. Box 3 3: 1 D 1 R of player. Goal 3 5: 0 U 2 R of box."
    )
    assert text(TEAM, state) == f"Turn 1 of 4, up to 4 moves.\n{board}"
    proposed = step(TEAM, state, "D R")
    facts = proposed.facts
    nearer = math.exp(-STEEPNESS * 1 / 16) - math.exp(-STEEPNESS * 3 / 16)
    assert (facts["would_progress"], facts["progress"]) == (pytest.approx(nearer), 0.0)
    assert facts["would_solve"] is False
    assert attrs.evolve(proposed.state, pending=False, proposal=None) == state  # nothing has moved
    assert text(TEAM, proposed.state) == (
        "Turn 1 of 4, up to 4 moves.\n"
        f"Proposal: D R. Result: player 3 3, box 3 4, solved no, illegal 0.\n{board}"
    )
    moved = step(TEAM, proposed.state, "D R U")
    assert (moved.state.player, moved.state.boxes, moved.state.turn) == ((1, 2), ((2, 3),), 1)
    assert text(TEAM, moved.state).startswith("Turn 2 of 4, up to 4 moves.\nLast: D R U.\n# # #")
    assert text(TEAM, moved.state).endswith(
        "\nPlayer 2 3. Box 3 4: 1 D 1 R of player. Goal 3 5: 0 U 1 R of box."
    )
    unread = step(TEAM, moved.state, "let me see")
    assert "\nLast: D R U.\nProposal: unreadable.\n# # #" in text(TEAM, unread.state)
    blocked = step(TEAM, unread.state, "U U L U")
    assert "\nLast: L. Illegal 3.\n# # #" in text(TEAM, blocked.state)
    nothing = step(TEAM, step(TEAM, blocked.state, "none").state, "?")
    assert "\nLast: unreadable.\n# # #" in text(TEAM, nothing.state)


def test_a_timeout_is_a_failure_and_never_a_success() -> None:
    state = TEAM.start(LEVEL, 0)
    facts: dict[str, Any] = {}
    while TEAM.acting_role(state) is not None:
        assert not facts.get("failed", False)
        last = step(TEAM, state, "")
        state, facts = last.state, dict(last.facts)
    assert state.turn == TEAM.max_turns
    assert (facts["failed"], facts["solved"]) == (True, False)
    assert (TEAM.outcome(state).success, TEAM.outcome(state).score) == (False, 0.0)
    assert REWARDS[0](last, "executor").parts["failure"] == SokobanRewardOptions().failure_reward
    assert REWARDS[1](last, "executor").team == SokobanSparseRewardOptions().failure_reward < 0


def test_solving_on_the_last_turn_is_a_success() -> None:
    env = SokobanEnvironment(SokobanOptions(players="single", max_turns=1))
    last = step(env, env.start(LEVEL, 0), "D R R U")
    assert (last.facts["solved"], last.facts["failed"], last.facts["moves"]) == (True, False, 3)
    assert env.acting_role(last.state) is None
    assert env.outcome(last.state).success


def test_facts_tell_unreadable_illegal_and_overlong_answers() -> None:
    state = SINGLE.start(LEVEL, 0)
    bad = step(SINGLE, state, "hello").facts
    assert (bad["parsed"], bad["legal"], bad["moves"]) == (False, False, 0)
    wall = step(SINGLE, state, "U L").facts
    assert (wall["parsed"], wall["legal"], wall["illegal"]) == (True, False, 2)
    long = step(SINGLE, state, "R R R R R")
    assert (long.facts["cut"], long.facts["moves"], long.state.player) == (3, 2, (1, 3))
    idle = step(SINGLE, state, "none").facts
    assert (idle["parsed"], idle["legal"], idle["moves"], idle["illegal"]) == (True, True, 0, 0)


SMALL_ROOM = ["######", "#@   #", "# $ .#", "#    #", "######"]
LARGE_ROOM = [
    "#########",
    "#@      #",
    "# $ . $ #",
    "#    .  #",
    "#       #",
    "#       #",
    "#       #",
    "#########",
]


@pytest.mark.parametrize(
    ("rows", "ruin", "exact"), [(SMALL_ROOM, "R D", True), (LARGE_ROOM, "R D D D D", False)]
)
@pytest.mark.parametrize("players", ["team", "single"])
def test_a_dead_position_ends_the_episode_as_a_failure_at_once(
    rows: list[str], ruin: str, exact: bool, players: Any
) -> None:
    env = SokobanEnvironment(SokobanOptions(players=players, max_turns=8, moves_per_turn=5, boxes=1))
    state = env.start(Task("t", {"rows": rows}), 0)
    if players == "team":
        warned = step(env, state, ruin)
        assert (warned.facts["would_deadlock"], warned.facts["deadlock"]) == (True, False)
        assert warned.facts["failed"] is False
        state = warned.state
        assert env.acting_role(state) == "executor"  # a proposal ruins nothing
    last = step(env, state, ruin)
    facts = last.facts
    assert (facts["exact"], facts["deadlock"], facts["failed"], facts["solved"]) == (exact, True, True, False)
    assert (last.state.dead, last.state.turn, env.acting_role(last.state)) == (True, 1, None)
    assert not env.outcome(last.state).success
    assert facts["progress"] < 0
    assert REWARDS[0](last, env.roles[-1]).parts["failure"] == SokobanRewardOptions().failure_reward
    assert env.expert(last.state, env.roles[-1]) is None
    assert from_json(to_json(last.state), SokobanState) == last.state


def test_a_level_that_is_dead_from_the_start_is_over_before_anybody_acts() -> None:
    state = TEAM.start(Task("t", {"rows": ["#####", "#$ .#", "#@  #", "#####"]}), 0)
    assert (state.dead, TEAM.acting_role(state), TEAM.outcome(state).success) == (True, None, False)


@given(st.integers(0, 60), st.integers(1, 60))
def test_the_potential_falls_by_one_factor_a_move(moves: int, scale: int) -> None:
    here, further = (potential(Estimate(number, True), scale) for number in (moves, moves + 1))
    assert 0 < further < here <= 1
    assert further / here == pytest.approx(math.exp(-STEEPNESS / scale))
    assert potential(Estimate(0, True), scale) == 1
    assert potential(Estimate(None, True), scale) == potential(Estimate(None, False), scale) == 0


def test_an_answer_without_a_move_is_idle_and_one_that_tried_is_not() -> None:
    options = SokobanRewardOptions()
    for env in (SINGLE, TEAM):
        state, role = env.start(LEVEL, 0), env.roles[0]
        parts = {
            answer: REWARDS[0](step(env, state, answer), role).parts
            for answer in ("none", "U L", "D", "what")
        }
        assert [part["idle"] for part in parts.values()] == [options.idle_penalty, 0.0, 0.0, 0.0]
        assert [part["malformed"] for part in parts.values()] == [0.0, 0.0, 0.0, options.malformed_penalty]
        assert parts["U L"]["illegal"] == 2 * options.illegal_penalty
        steps = [options.step_penalty * tried / state.scale for tried in (1, 2, 1, 1)]
        assert [part["step"] for part in parts.values()] == pytest.approx(steps)


def test_steps_cost_the_step_penalty_for_a_whole_budget() -> None:
    options = SokobanOptions(players="single", max_turns=4, moves_per_turn=3)
    env, total = SokobanEnvironment(options), 0.0
    state = env.start(LEVEL, 0)
    while env.acting_role(state) is not None:
        last = step(env, state, "U U L")
        total += REWARDS[0](last, "player").parts["step"]
        state = last.state
    assert total == pytest.approx(SokobanRewardOptions().step_penalty)


def test_rewards_order_good_idle_and_ruinous_answers() -> None:
    state = SINGLE.start(LEVEL, 0)
    dense = SokobanReward()
    scores = [dense(step(SINGLE, state, answer), "player") for answer in ("D R", "D", "none", "R D")]
    assert [reward.team for reward in scores] == sorted((reward.team for reward in scores), reverse=True)
    assert scores[0].team > 0 > scores[2].team > scores[3].team > -2
    team = TEAM.start(LEVEL, 0)
    proposals = [dense(step(TEAM, team, answer), "planner") for answer in ("D R R", "D R", "none", "R D")]
    local = [reward.local for reward in proposals]
    assert local == sorted(local, reverse=True)
    assert len(set(local)) == 4
    assert {reward.team for reward in proposals} == {0.0}
    assert dense(step(TEAM, team, "what"), "planner").local < local[2]


def bound(options: SokobanOptions) -> float:
    """The most that one answer can earn or lose, in either part of the reward."""
    weights = SokobanRewardOptions()
    team = abs(weights.step_penalty) + weights.box_on_target * options.boxes
    team += max(weights.success_reward, -weights.failure_reward)
    once = (weights.idle_penalty, weights.malformed_penalty, weights.overlong_penalty, weights.step_penalty)
    local = sum(map(abs, once)) + options.moves_per_turn * abs(weights.illegal_penalty)
    return weights.progress + max(team, local)


def assert_positions(line: str, state: SokobanState) -> None:
    """The line names every cell, and each offset leads there from where it is counted."""

    def cells(name: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Return every cell of `name` with the cell that its offset is counted from."""
        (part,) = re.findall(rf"{name} ((?:\d+ \d+: \d+ [UD] \d+ [LR] of \w+(?:, )?)+)\.", line)
        found = []
        for r, c, down, vertical, right, horizontal in re.findall(
            r"(\d+) (\d+): (\d+) ([UD]) (\d+) ([LR])", part
        ):
            cell = (int(r) - 1, int(c) - 1)
            rows = int(down) if vertical == "D" else -int(down)
            columns = int(right) if horizontal == "R" else -int(right)
            found.append((cell, (cell[0] - rows, cell[1] - columns)))
        return found

    player = state.player
    assert line.startswith(f"Player {player[0] + 1} {player[1] + 1}. Box ")
    assert cells("Box") == [(box, player) for box in state.boxes]
    goals = cells("Goal")
    assert sorted(goal for goal, _ in goals) == sorted(goals_of(state.rows))
    for goal, box in goals:
        apart = [abs(goal[0] - r) + abs(goal[1] - c) for r, c in state.boxes]
        assert apart[state.boxes.index(box)] == min(apart)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.booleans(), st.lists(responses, max_size=10))
def test_steps_are_pure_fresh_serialisable_and_bounded(seed: int, single: bool, answers: list[str]) -> None:
    options = SokobanOptions(players="single" if single else "team", boxes=1 + seed % 2)
    env = SokobanEnvironment(options)
    begin = state = env.start(SokobanSuite(options, seed=seed).task("train", 0), 0)
    total = 0.0
    for answer in answers:
        role = env.acting_role(state)
        if role is None:
            assert state.solved or state.dead or state.turn == env.max_turns
            break
        assert not state.dead
        before = to_json(state)
        lines = text(env, state).splitlines()
        board = draw(state.rows, state.player, state.boxes, floor="_")
        assert lines[-1 - len(board) : -1] == [" ".join(row) for row in board]
        assert lines[0].startswith(f"Turn {state.turn + 1} of ")
        assert len(lines) == len(board) + 2 + (state.turn > 0) + (role == "executor")
        assert_positions(lines[-1], state)
        first, other, again = (step(env, state, given) for given in (answer, "U L", answer))
        assert first == again  # the branch between them left no trace
        assert to_json(state) == before
        assert from_json(before, SokobanState) == state
        assert from_json(to_json(first.state), SokobanState) == first.state
        assert isinstance(other.state, SokobanState)
        for reward in REWARDS:
            scored = reward(first, role)
            assert all(abs(value) <= bound(options) for value in (scored.team, scored.local))
            assert role != "planner" or scored.local <= 0
        assert env.outcome(first.state).success == first.facts["solved"]
        over = env.acting_role(first.state) is None
        assert first.facts["failed"] == (over and not first.facts["solved"])
        assert over or not first.facts["deadlock"]
        total += REWARDS[0](first, role).parts.get("progress", 0.0)
        state = first.state
    positions = ((s.player, s.boxes) for s in (begin, state))
    start, end = (potential(remaining(state.rows, *position), state.scale) for position in positions)
    assert total == pytest.approx(SokobanRewardOptions().progress * (end - start))


def mixed(transitions: list[tuple[Transition[Any], str]], reward: Any) -> float:
    scores: list[Reward] = [reward(transition, role) for transition, role in transitions]
    return sum(0.7 * score.team + 0.3 * score.local for score in scores)


@pytest.mark.parametrize("boxes", [1, 2])
@pytest.mark.parametrize("size", [6, 9])
def test_no_loop_of_moves_earns(size: int, boxes: int) -> None:
    """Every loop of up to four moves, a move a turn, on small (exact) and large (bounded) boards."""
    options = SokobanOptions(players="single", size=size, boxes=boxes, max_turns=50, moves_per_turn=1)
    env = SokobanEnvironment(options)
    loops = 0
    for index in range(4):
        start = env.start(SokobanSuite(options).task("train", index), 0)
        for sequence in itertools.chain.from_iterable(itertools.product("UDLR", repeat=n) for n in (1, 2, 4)):
            state, taken = start, []
            for letter in sequence:
                if env.acting_role(state) is None:
                    break
                transition = step(env, state, letter)
                taken.append((transition, "player"))
                state = transition.state
            if (state.player, state.boxes) == (start.player, start.boxes):
                loops += 1
                assert mixed(taken, REWARDS[0]) < 0
                assert sum(REWARDS[0](t, r).parts["progress"] for t, r in taken) == pytest.approx(0)
                assert mixed(taken, REWARDS[1]) == 0
    assert loops > 40


def test_a_box_pushed_off_its_goal_and_back_earns_nothing() -> None:
    rows = ["########", "#      #", "# @*   #", "#   $. #", "#      #", "########"]
    env = SokobanEnvironment(SokobanOptions(players="single", max_turns=20, moves_per_turn=1))
    start = env.start(Task("t", {"rows": rows}), 0)
    state, taken = start, []
    for letter in "RURRDLULLD":
        transition = step(env, state, letter)
        taken.append((transition, "player"))
        state = transition.state
    assert (state.player, state.boxes) == (start.player, start.boxes)
    assert [t.facts["boxes_delta"] for t, _ in taken if t.facts["boxes_delta"]] == [-1, 1]
    assert sum(REWARDS[0](t, r).parts["box_on_target"] for t, r in taken) == 0
    assert mixed(taken, REWARDS[0]) < 0


def test_good_proposals_that_are_never_carried_out_earn_nothing() -> None:
    state, taken = TEAM.start(LEVEL, 0), []
    while (role := TEAM.acting_role(state)) is not None and state.turn < 3:
        transition = step(TEAM, state, "D R R" if role == "planner" else "none")
        taken.append((transition, role))
        state = transition.state
    assert all(REWARDS[0](t, "planner").local <= 0 for t, role in taken if role == "planner")
    for reward in REWARDS:
        assert mixed(taken, reward) <= 0


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.booleans(), st.lists(responses, min_size=4, max_size=40))
def test_no_return_to_a_position_earns(seed: int, single: bool, answers: list[str]) -> None:
    """Between any two visits of a position the rewards of all roles together sum to zero at most."""
    options = SokobanOptions(players="single" if single else "team", max_turns=20, moves_per_turn=3)
    env = SokobanEnvironment(options)
    state = env.start(SokobanSuite(options, seed=seed).task("train", 0), 0)
    taken: list[tuple[Transition[Any], str]] = []
    visits: dict[Any, list[int]] = {(state.player, state.boxes): [0]}
    for answer in answers:
        role = env.acting_role(state)
        if role is None:
            break
        transition = step(env, state, answer)
        taken.append((transition, role))
        state = transition.state
        if not state.pending:
            visits.setdefault((state.player, state.boxes), []).append(len(taken))
    for times in visits.values():
        for begin, end in itertools.combinations(times, 2):
            for reward in REWARDS:
                assert mixed(taken[begin:end], reward) <= 1e-9


@pytest.mark.parametrize("players", ["team", "single"])
def test_the_expert_solves_and_random_play_does_not(players: Any) -> None:
    options = SokobanOptions(players=players)
    env, suite = SokobanEnvironment(options), SokobanSuite(options)
    rng = random.Random(0)

    def solved(index: int, expert: bool) -> tuple[bool, int]:
        task = suite.task("validation", index)
        state, made = env.start(task, 0), 0
        while (role := env.acting_role(state)) is not None:
            answer = env.expert(state, role) if expert else env.random_response(state, role, rng)
            assert answer is not None
            transition = step(env, state, answer)
            made += 0 if role == "planner" else int(transition.facts["moves"])
            state = transition.state
        assert not expert or made == task.labels["solution_moves"]
        return env.outcome(state).success, made

    assert all(solved(index, True)[0] for index in range(200))
    assert sum(solved(index, False)[0] for index in range(100)) < 30


def test_the_executors_expert_overrules_a_bad_proposal_only() -> None:
    room = Task("t", {"rows": ["#######", "#@    #", "#     #", "#  $. #", "#     #", "#######"]})
    state = TEAM.start(room, 0)
    assert TEAM.expert(state, "planner") == "D D R R"
    equal = step(TEAM, state, "R D D R").state  # another way, as short
    assert TEAM.expert(equal, "executor") == "R D D R"
    for worse in ("R R D D", "D D R", "U D D R", "???"):
        assert TEAM.expert(step(TEAM, state, worse).state, "executor") == "D D R R"


def test_the_expert_gives_up_on_dead_positions() -> None:
    for position in ("R D", "R D D"):
        dead = step(SINGLE, SINGLE.start(LEVEL, 0), position).state
        assert SINGLE.expert(dead, "player") is None


def test_tasks_that_are_no_level_are_refused() -> None:
    with pytest.raises(ConfigError, match="no box"):
        TEAM.start(Task("t", {"rows": ["####", "#@ #", "####"]}), 0)


@pytest.mark.parametrize("options", [{"progress": float("nan")}, {"success_reward": "1"}])
def test_bad_reward_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be a finite number"):
        SokobanRewardOptions(**options)


def test_system_prompts_are_short_and_named_as_the_seats() -> None:
    named = {role.name: role for role in (roles.PLANNER, roles.EXECUTOR, roles.PLAYER)}
    assert {*TEAM.roles, *SINGLE.roles} == set(named)
    assert all(len(role.system_prompt.split()) <= 50 for role in named.values())


@pytest.mark.parametrize("players", ["team", "single"])
def test_the_registered_environment_conforms(players: str) -> None:
    spec = next(s for s in pettingllms_register_environments() if s.name == "games/sokoban")
    assert spec.reward in {reward.name for reward in pettingllms_register_reward_functions()}
    assert set(spec.roles.values()) <= {role.name for role in pettingllms_register_agent_roles()}
    report = check_environment(spec, options={"players": players}, max_tasks=20)
    assert report.ok, report
