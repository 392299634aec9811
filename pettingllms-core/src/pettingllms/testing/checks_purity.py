"""Checks that an environment is a pure function of an immutable state."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import random
import sys
from collections.abc import Sequence
from typing import Any

import attrs

from pettingllms.env.codec import from_json, to_json, to_plain
from pettingllms.env.types import Observation, Task, Transition
from pettingllms.testing.checks import difference, fail, short, skip, text_of
from pettingllms.testing.checks_play import (
    GARBAGE,
    CallFaultError,
    Case,
    Move,
    Probe,
    Trace,
    mixed,
    place,
)

_SAMPLE = 32
_PROCESS_TIMEOUT = 60.0


async def immutable_state(case: Case) -> str:
    """States are frozen attrs values of the declared class, and no call changes one."""
    wanted = case.parts.state
    for trace in case.traces:
        if trace.start is not None and type(trace.start) is not wanted:
            where = trace.where()
            fail(f"start returned a {type(trace.start).__name__}, not a {wanted.__name__}", **where)
        for move in trace.moves:
            if type(move.transition.state) is not wanted:
                where = trace.where(move)
                fail(
                    f"step led to a {type(move.transition.state).__name__}, not a {wanted.__name__}", **where
                )
            if (now := text_of(move.state)) != move.state_text:
                where = trace.where(move)
                changed = difference(move.state_text, now)
                fail(
                    f"a state was changed after it was made: {changed}; {place(where)}",
                    **where,
                    first=move.state_text,
                    second=now,
                )
    if not attrs.has(wanted):
        fail(f"{wanted.__name__} must be an attrs class")
    start = next((trace.start for trace in case.traces if trace.start is not None), None)
    for field in attrs.fields(wanted)[:1]:
        try:
            setattr(copy.copy(start), field.name, None)
        except attrs.exceptions.FrozenInstanceError:
            continue
        fail(f"{wanted.__name__} must be frozen (attrs.frozen): its {field.name!r} can be assigned")
    return f"{wanted.__name__} is frozen; {sum(len(t.moves) for t in case.traces)} states kept their value"


async def purity(case: Case) -> str:
    """The same state and response give the same transition, also from a new environment."""
    fresh = case.fresh()
    sample = case.moves("purity", _SAMPLE)
    for trace, move in sample:
        for name, env in (("the same environment", case.env), ("a new environment", fresh)):
            again = text_of(await env.step(move.state, move.role, move.response))
            if again != move.transition_text:
                where = trace.where(move)
                fail(
                    f"the same state and response gave {difference(move.transition_text, again)} "
                    f"on a second call ({name}): {place(where)}",
                    **where,
                    first=move.transition_text,
                    second=again,
                )
    return f"{len(sample)} transitions repeated, by the same and by a new environment"


async def branch_isolation(case: Case) -> str:
    """Branches that run at the same time from one state end as they do alone."""
    branches = 0
    starts = case.moves("branches", 6)
    for number, (trace, move) in enumerate(starts):
        plans, alone = [], []
        for branch, first in enumerate((move.response, *_alternatives(case, move))):
            rng = case.rng(f"branch {number} {branch}")
            plan, texts = await _follow_player(case.fresh(), move, first, rng)
            plans.append(plan)
            alone.append(texts)
        together_env = case.fresh()
        together = await asyncio.gather(*(_follow(together_env, move, plan) for plan in plans))
        for plan, single, joint in zip(plans, alone, together, strict=True):
            for turn, (one, other) in enumerate(zip(single, joint, strict=True)):
                if one != other:
                    where = trace.where(move) | {"response": short(plan[0])}
                    fail(
                        f"a branch run beside {len(plans) - 1} others differs from the same branch alone, "
                        f"{turn + 1} responses in: {difference(one, other)}; {place(where)}",
                        **where,
                        first=one,
                        second=other,
                    )
        if (now := text_of(move.state)) != move.state_text:
            where = trace.where(move)
            changed = difference(move.state_text, now)
            fail(f"a branch changed the state that it started from: {changed}; {place(where)}", **where)
        branches += len(plans)
    return f"{branches} branches from {len(starts)} states, alone and side by side"


def _alternatives(case: Case, move: Move) -> list[str]:
    rng = case.rng(f"alternatives {move.state_text}")
    texts = [mixed(case.env, move.state, move.role, rng) for _ in range(2)]
    return [*texts, rng.choice(GARBAGE)]


async def _follow_player(
    env: Probe, move: Move, first: str, rng: random.Random
) -> tuple[list[str], list[str]]:
    """Go on from `move` with `first` and up to three more responses; return responses and transitions."""
    plan: list[str] = []
    texts: list[str] = []
    state, role, response = move.state, move.role, first
    while True:
        transition = await env.step(state, role, response)
        plan.append(response)
        texts.append(text_of(transition))
        state, next_role = transition.state, env.acting_role(transition.state)
        if next_role is None or len(plan) == 4:
            return plan, texts
        role, response = next_role, mixed(env, state, next_role, rng)


async def _follow(env: Probe, move: Move, plan: Sequence[str]) -> list[str]:
    state, role, texts = move.state, move.role, []
    for response in plan:
        await asyncio.sleep(0)  # let the other branches run in between
        transition = await env.step(state, role, response)
        texts.append(text_of(transition))
        state = transition.state
        role = env.acting_role(state) or role
    return texts


async def json_round_trip(case: Case) -> str:
    """Every task, observation, state and transition goes to JSON and back unchanged."""
    count = 0
    for trace in case.traces:
        values: list[tuple[Any, Any, Move | None]] = [(trace.task, Task, None)]
        if trace.start is not None:
            values.append((trace.start, case.parts.state, None))
        for move in trace.moves:
            values.append((move.observation, Observation, move))
            values.append((move.transition, Transition[case.parts.state], move))  # type: ignore[name-defined]
        for value, kind, at in values:
            _round_trip(value, kind, trace, at)
            count += 1
    return f"{count} values"


def _round_trip(value: Any, kind: Any, trace: Trace, move: Move | None) -> None:
    where, what = trace.where(move), type(value).__name__
    try:
        text = to_json(value)
    except Exception as error:
        fail(f"{what} has no JSON form: {short(str(error), 160)}; {place(where)}", **where)
    try:
        back = from_json(text, kind)
    except Exception as error:
        reason = short(f"{type(error).__name__}: {error}", 160)
        fail(f"{what} cannot be read back from its JSON: {reason}; {place(where)}", **where, first=text)
    if to_json(back) != text:
        changed = difference(text, to_json(back))
        fail(f"{what} changes on the way through JSON: {changed}; {place(where)}", **where, first=text)
    if back != value:
        fail(
            f"{what} is not equal to itself after JSON (a list where a tuple is declared?): {place(where)}",
            **where,
            first=short(value, 400),
            second=short(back, 400),
        )


async def replay(case: Case) -> str:
    """An episode replays by folding its responses, from the task or from any state read from JSON."""
    rng = case.rng("replay")
    traces = [trace for trace in case.traces if trace.moves]
    traces = rng.sample(traces, min(len(traces), 8))
    for trace in traces:
        for begin in {0, rng.randrange(len(trace.moves))}:
            env = case.fresh()
            if begin == 0:
                state = env.start(from_json(to_json(trace.task), Task), trace.seed)
            else:
                state = from_json(trace.moves[begin].state_text, case.parts.state)
            for move in trace.moves[begin:]:
                where = trace.where(move) | {"from": "the task" if begin == 0 else f"response {begin + 1}"}
                role = env.acting_role(state)
                if role != move.role:
                    fail(f"replay: {role!r} acts instead of {move.role!r}: {place(where)}", **where)
                transition = await env.step(state, role, move.response)
                if (now := text_of(transition)) != move.transition_text:
                    changed = difference(move.transition_text, now)
                    fail(
                        f"replay from {where['from']} diverged: {changed}; {place(where)}",
                        **where,
                        first=move.transition_text,
                        second=now,
                    )
                state = transition.state
    return f"{len(traces)} episodes folded again, from the task and from a state in the middle"


async def process_purity(case: Case) -> str:
    """Another process, with another hash seed, makes the same tasks and transitions."""
    if case.parts.spec is None:
        skip("needs a spec, to make the environment in another process")
    traces = [trace for trace in case.traces if trace.moves and trace.fault is None]
    traces = case.rng("process").sample(traces, min(len(traces), 4))
    request = {
        "spec": to_plain(case.parts.spec),
        "options": case.parts.options,
        "seed": case.seed,
        "num_tasks": case.max_tasks,
        "tasks": [[split, index] for split in ("train", "test") for index in range(3)],
        "episodes": [
            {
                "task": to_plain(trace.task),
                "seed": trace.seed,
                "moves": [[move.role, move.response] for move in trace.moves],
            }
            for trace in traces
        ],
    }
    answer = await _ask_process(json.dumps(request))
    here = await replies(request)
    for place_, (first, second) in enumerate(zip(here, answer, strict=True)):
        if first != second:
            tasks = len(request["tasks"])
            what = (
                "task {0[0]}[{0[1]}]".format(request["tasks"][place_])
                if place_ < tasks
                else f"the episode of {place(traces[place_ - tasks].where())}"
            )
            fail(
                f"{what} differs in a process with another hash seed: {difference(first, second)} "
                "(hash(), or the order of a set?)",
                first=first,
                second=second,
            )
    return f"{len(request['tasks'])} tasks and {len(traces)} episodes are the same in a second process"


async def _ask_process(request: str) -> list[str]:
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    search_path = os.pathsep.join(entry for entry in sys.path if entry)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pettingllms.testing.checks_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": search_path},
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(request.encode()), _PROCESS_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
        fail(f"a second process did not answer within {_PROCESS_TIMEOUT:.0f} s")
    if process.returncode != 0:
        lines = err.decode(errors="replace").strip().splitlines() or ["no message"]
        fail(f"a second process cannot play the environment: {short(lines[-1], 160)}")
    answer: list[str] = json.loads(out.decode().splitlines()[-1])
    return answer


async def replies(request: dict[str, Any]) -> list[str]:
    """Return the tasks and episodes that `request` asks for, as JSON texts."""
    from pettingllms.plugins.instantiate import build_environment, build_suite
    from pettingllms.plugins.specs import EnvironmentSpec

    spec = EnvironmentSpec(**request["spec"])
    suite = build_suite(spec, request["options"], request["num_tasks"], request["seed"])
    texts = [
        to_json(suite.task(split, index)) if index < suite.size(split) else ""
        for split, index in request["tasks"]
    ]
    env = Probe(build_environment(spec, request["options"]))
    for episode in request["episodes"]:
        state = env.start(from_json(json.dumps(episode["task"]), Task), episode["seed"])
        seen = [text_of(state)]
        for role, response in episode["moves"]:
            seen.append(text_of(env.observe(state, role)))
            try:
                transition = await env.step(state, role, response)
            except CallFaultError as fault:
                seen.append(str(fault))
                break
            seen.append(text_of(transition))
            state = transition.state
        texts.append(json.dumps([json.loads(text) if text[:1] in "{[" else text for text in seen]))
    return texts
