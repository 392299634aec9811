"""Checks of tasks and scores: seeds, splits, expert and random play, rewards."""

from __future__ import annotations

import math
import random

import attrs

from pettingllms.env.suite import SPLITS, Split, TaskSuite
from pettingllms.env.types import Task
from pettingllms.team.reward import Reward
from pettingllms.testing.checks import difference, fail, short, skip, text_of
from pettingllms.testing.checks_play import Case, Trace, place

RANDOM_SUCCESS_LIMIT = 0.5
"""Above this share of solved tasks, random play makes a task too easy to learn from."""


async def seed_purity(case: Case) -> str:
    """The same seed gives the same tasks and first states; another seed other training tasks only."""
    fresh = case.fresh()
    for trace in case.traces:
        for name, env in (("the same environment", case.env), ("a new environment", fresh)):
            if trace.start is not None:
                again = text_of(env.start(trace.task, trace.seed))
                if again != trace.start_text:
                    where = trace.where()
                    changed = difference(trace.start_text, again)
                    fail(f"start differs on a second call ({name}): {changed}; {place(where)}", **where)
    count = min(case.max_tasks, 30)
    before = random.getstate()
    first, second = _suite(case, case.seed), _suite(case, case.seed)
    other = _suite(case, case.seed + 1)
    for split in SPLITS:
        for index in range(min(count, first.size(split))):
            one = text_of(first.task(split, index))
            for name, suite in (("a second call", first), ("a second suite of the same seed", second)):
                if index >= suite.size(split) or (again := text_of(suite.task(split, index))) != one:
                    seen = "nothing" if index >= suite.size(split) else again
                    fail(
                        f"task {split}[{index}] differs in {name}: {difference(one, seen)}",
                        split=split,
                        index=index,
                        first=one,
                        second=seen,
                    )
    for split in ("validation", "test"):
        for index in range(min(count, first.size(split))):
            same = index < other.size(split) and other.task(split, index) == first.task(split, index)
            if first.size(split) != other.size(split) or not same:
                fail(
                    f"{split}[{index}] depends on the seed: {case.seed} and {case.seed + 1} "
                    "give different tasks, so results would not compare",
                    split=split,
                    index=index,
                )
    train = [
        [text_of(suite.task("train", index)) for index in range(min(count, suite.size("train")))]
        for suite in (first, other)
    ]
    if len(train[0]) > 1 and train[0] == train[1]:
        fail(f"seeds {case.seed} and {case.seed + 1} give the same train tasks: the seed is not used")
    if case.suite_touched_random or random.getstate() != before:
        fail("the task suite uses the global random state; use random.Random(seed)")
    if case.env.touched_random is not None:
        method = case.env.touched_random
        fail(f"{method} uses the global random state; keep a seed in the state", method=method)
    return f"{count} tasks a split, {len(case.traces)} first states"


def _suite(case: Case, seed: int) -> TaskSuite:
    return case.parts.make_suite(case.max_tasks, seed)


async def split_disjointness(case: Case) -> str:
    """No split holds a problem of another, by content; ids are unique."""
    owners: dict[str, tuple[Split, Task]] = {}
    ids: dict[str, tuple[Split, str]] = {}
    counts, repeated = [], 0
    for split in SPLITS:
        size = case.suite.size(split)
        count = min(size, case.max_tasks)
        counts.append(f"{count} {split}")
        for number in range(count):
            index = number * size // count
            task = case.suite.task(split, index)
            if not isinstance(task, Task) or not isinstance(task.id, str):
                fail(f"{split}[{index}] is not a Task with a text id: {short(task)}")
            content = text_of(attrs.evolve(task, id="", labels={}))
            owner, twin = owners.setdefault(content, (split, task))
            if owner != split:
                fail(
                    f"{split} task {task.id!r} is the same problem as {owner} task {twin.id!r}",
                    first=text_of(twin),
                    second=text_of(task),
                )
            repeated += twin is not task
            _, seen = ids.setdefault(task.id, (split, content))
            if seen != content:
                fail(
                    f"the id {task.id!r} stands for two different tasks",
                    id=task.id,
                    first=seen,
                    second=content,
                )
        for beyond in (size, -1):
            try:
                case.suite.task(split, beyond)
            except IndexError:
                continue
            except Exception as error:
                fail(f"task({split!r}, {beyond}) raised {type(error).__name__}, not IndexError")
            if beyond == size:
                fail(f"task({split!r}, {beyond}) returned a task, but size({split!r}) is {size}")
    tail = f"; {repeated} repeated within a split" if repeated else ""
    return f"{', '.join(counts)} tasks compared by content{tail}"


async def expert_succeeds(case: Case) -> str:
    """The expert solves every task and never gives up on the way; elsewhere it may."""
    if not case.env.can("expert"):
        skip("the environment has no expert method")
    traces = case.played("expert")
    for trace in traces:
        if trace.fault is None and not (trace.outcome is not None and trace.outcome.success):
            where = trace.where()
            last = trace.moves[-1].observation.messages[-1].content if trace.moves else ""
            how = ": it gives up after" if trace.gave_up else " in"
            fail(
                f"the expert does not solve {place(where)}{how} {len(trace.moves)} responses",
                **where,
                responses=[short(move.response) for move in trace.moves],
                last_observation=short(last, 400),
                outcome=repr(trace.outcome),
            )
    solved = sum(trace.fault is None for trace in traces)
    if solved < len(traces):
        fault = next(trace for trace in traces if trace.fault is not None)
        fail(f"expert play broke off: {fault.fault}; {place(fault.at)}", **fault.at)
    longest = max(len(trace.moves) for trace in traces)
    return f"solved {solved} of {len(traces)}, at most {longest} responses"


async def random_mostly_fails(case: Case) -> str:
    """Random play solves at most half of the tasks, and is reproducible."""
    if not case.env.can("random_response"):
        skip("the environment has no random_response method")
    traces = case.played("random")
    solved = sum(trace.outcome is not None and trace.outcome.success for trace in traces)
    if solved > RANDOM_SUCCESS_LIMIT * len(traces):
        fail(
            f"random play solves {solved} of {len(traces)} tasks, above "
            f"{RANDOM_SUCCESS_LIMIT:.0%}: there is little to learn",
            solved=solved,
            episodes=len(traces),
        )
    fresh = case.fresh()
    for trace, move in case.moves("random response", 24):
        one = case.env.random_response(move.state, move.role, random.Random(7))
        two = fresh.random_response(move.state, move.role, random.Random(7))
        if one != two:
            where = trace.where(move)
            fail(
                "random_response differs for equal generators; it must draw from `rng` only: "
                f"task {trace.task.id!r}, role {move.role!r}, turn {move.turn}",
                **where,
                first=short(one),
                second=short(two),
            )
    return f"solved {solved} of {len(traces)}"


async def rewards(case: Case) -> str:
    """Rewards are finite, bounded, and depend on the transition and role alone."""
    if case.parts.make_reward is None:
        skip("no reward function was given")
    function, fresh = case.parts.make_reward(), case.parts.make_reward()
    ranges: dict[str, list[float]] = {}
    recorded: list[tuple[Trace, int, Reward]] = []
    for trace in case.traces:
        for number, move in enumerate(trace.moves):
            where = trace.where(move)
            try:
                reward = function(move.transition, move.role)
            except Exception as error:
                reason = short(f"{type(error).__name__}: {error}", 160)
                fail(f"the reward function raised {reason}: {place(where)}", **where)
            if not isinstance(reward, Reward):
                fail(f"the reward function returned {short(reward)}, not a Reward: {place(where)}", **where)
            named = {"team": reward.team, "local": reward.local}
            named |= {f"part {name!r}": value for name, value in reward.parts.items()}
            for name, value in named.items():
                if type(value) not in (int, float) or not math.isfinite(value):
                    fail(f"reward {name} is {value!r}: {place(where)}", **where, reward=repr(reward))
                if abs(value) > case.reward_bound:
                    fail(
                        f"reward {name} is {value:g}, beyond {case.reward_bound:g}: {place(where)}",
                        **where,
                        reward=repr(reward),
                    )
            ranges.setdefault(move.role, []).extend((reward.team, reward.local))
            recorded.append((trace, number, reward))
    for trace, number, reward in reversed(recorded):
        move = trace.moves[number]
        for again in (function(move.transition, move.role), fresh(move.transition, move.role)):
            if again != reward:
                where = trace.where(move)
                fail(
                    f"the same transition was rewarded {reward!r}, then {again!r}: {place(where)}",
                    **where,
                    first=repr(reward),
                    second=repr(again),
                )
    return "; ".join(f"{role} {min(seen):g} to {max(seen):g}" for role, seen in ranges.items())
