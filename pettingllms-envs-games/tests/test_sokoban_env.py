from __future__ import annotations

import asyncio
import itertools
import random
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
from pettingllms_envs_games.sokoban.env import SokobanEnvironment
from pettingllms_envs_games.sokoban.options import SokobanOptions
from pettingllms_envs_games.sokoban.rewards import (
    SokobanReward,
    SokobanRewardOptions,
    SokobanSparseReward,
)
from pettingllms_envs_games.sokoban.rules import draw
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
    assert text(TEAM, state) == (
        "# # # # # #\n# @ _ _ _ #\n# _ $ _ . #\n# _ _ _ _ #\n# # # # # #\n"
        "Player 2 2. Box 3 3. Goal 3 5. Turn 1 of 4, 4 moves."
    )
    proposed = step(TEAM, state, "D R")
    facts = proposed.facts
    assert (facts["would_progress"], facts["progress"], facts["would_solve"]) == (2 / 16, 0.0, False)
    assert attrs.evolve(proposed.state, pending=False, proposal=None) == state  # nothing has moved
    assert text(TEAM, proposed.state).endswith(
        "Proposal: D R. Result: player 3 3, box 3 4, solved no, illegal 0."
    )
    moved = step(TEAM, proposed.state, "D R U")
    assert (moved.state.player, moved.state.boxes, moved.state.turn) == ((1, 2), ((2, 3),), 1)
    assert text(TEAM, moved.state).endswith("Turn 2 of 4, 4 moves.\nLast: D R U.")
    unread = step(TEAM, moved.state, "let me see")
    assert text(TEAM, unread.state).endswith("Proposal: unreadable.")
    blocked = step(TEAM, unread.state, "U U L U")
    assert text(TEAM, blocked.state).endswith("Last: L. Illegal 3.")
    nothing = step(TEAM, step(TEAM, blocked.state, "none").state, "?")
    assert text(TEAM, nothing.state).endswith("Last: unreadable.")


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
    assert REWARDS[1](last, "executor").team == -1.0


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
    dead = step(SINGLE, step(SINGLE, state, "R D").state, "none").facts
    assert dead["deadlock"] is True


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


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.booleans(), st.lists(responses, max_size=10))
def test_steps_are_pure_fresh_serialisable_and_bounded(seed: int, single: bool, answers: list[str]) -> None:
    options = SokobanOptions(players="single" if single else "team", boxes=1 + seed % 2)
    env = SokobanEnvironment(options)
    state = env.start(SokobanSuite(options, seed=seed).task("train", 0), 0)
    for answer in answers:
        role = env.acting_role(state)
        if role is None:
            assert state.solved or state.turn == env.max_turns
            break
        before = to_json(state)
        lines = text(env, state).splitlines()
        board = draw(state.rows, state.player, state.boxes, floor="_")
        assert lines[: len(board)] == [" ".join(row) for row in board]
        words = f"Player {state.player[0] + 1} {state.player[1] + 1}. Box "
        words += ", ".join(f"{r + 1} {c + 1}" for r, c in state.boxes) + ". Goal"
        assert lines[len(board)].startswith(words)
        first, other, again = (step(env, state, given) for given in (answer, "U L", answer))
        assert first == again  # the branch between them left no trace
        assert to_json(state) == before
        assert from_json(before, SokobanState) == state
        assert from_json(to_json(first.state), SokobanState) == first.state
        assert isinstance(other.state, SokobanState)
        for reward in REWARDS:
            scored = reward(first, role)
            assert all(-2.2 <= value <= 2 for value in (scored.team, scored.local))
            assert role != "planner" or scored.local <= 0
        assert env.outcome(first.state).success == first.facts["solved"]
        state = first.state


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
    dead = step(SINGLE, step(SINGLE, SINGLE.start(LEVEL, 0), "R D").state, "D").state
    assert SINGLE.expert(dead, "player") == "none"


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
