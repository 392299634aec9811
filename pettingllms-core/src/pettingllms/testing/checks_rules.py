"""Checks of the rules of play: turns, texts, observations, facts, outcomes."""

from __future__ import annotations

import math
from typing import get_args

from pettingllms.env.base import Environment
from pettingllms.env.suite import SPLITS, TaskSuite
from pettingllms.env.types import Fact, Message, Observation
from pettingllms.testing.checks import fail, short, skip, text_of
from pettingllms.testing.checks_play import (
    GARBAGE,
    CallFaultError,
    Case,
    Move,
    Probe,
    Trace,
    place,
)

_FACT_TYPES = get_args(Fact)
_ECHO_LIMIT = 32_000


async def declaration(case: Case) -> str:
    """The environment and suite have the declared shape."""
    env, inner = case.env, case.env.inner
    if not isinstance(inner, Environment):
        fail(f"{type(inner).__name__} lacks methods of the Environment protocol")
    if not isinstance(case.suite, TaskSuite):
        fail(f"{type(case.suite).__name__} lacks methods of the TaskSuite protocol")
    roles = inner.roles
    if not isinstance(roles, tuple) or not roles or not all(isinstance(role, str) for role in roles):
        fail(f"roles must be a tuple of names, not {short(roles)}")
    if len(set(roles)) != len(roles):
        fail(f"roles names a seat twice: {roles}")
    if undeclared := [role for role in roles if role not in case.parts.declared_roles]:
        fail(f"roles {undeclared} are not among the spec's roles {list(case.parts.declared_roles)}")
    if type(inner.max_turns) is not int or inner.max_turns < 1:
        fail(f"max_turns must be an integer above 0, not {inner.max_turns!r}")
    if not isinstance(case.suite.version, str) or not case.suite.version:
        fail(f"the suite's version must be a text, not {case.suite.version!r}")
    sizes = {split: case.suite.size(split) for split in SPLITS}
    for split, size in sizes.items():
        if type(size) is not int or size < 1:
            fail(f"split {split!r} must hold at least one task, its size is {size!r}")
    shown = ", ".join(f"{size} {split}" for split, size in sizes.items())
    return f"roles {', '.join(roles)}; {env.max_turns} turns; {shown} tasks (version {case.suite.version})"


async def any_text_is_legal(case: Case) -> str:
    """No text makes the environment raise, hang or return something else than a transition."""
    for trace in case.traces:
        if trace.fault is not None:
            fail(f"{trace.fault}; {place(trace.at)}", **trace.at, error=str(trace.fault))
    tried: dict[str, int] = {}
    for trace, move in case.moves("any text", len(case.traces) * 2):
        if tried.get(move.role, 0) >= 2:
            continue
        tried[move.role] = tried.get(move.role, 0) + 1
        for text in GARBAGE:
            await _try_text(case.env, trace, move, text)
    seconds, method = case.env.slowest
    return (
        f"{len(case.traces)} episodes, {len(GARBAGE)} garbage texts at {sum(tried.values())} states; "
        f"slowest call: {method}, {seconds * 1000:.0f} ms"
    )


async def _try_text(env: Probe, trace: Trace, move: Move, text: str) -> None:
    evidence = trace.where(move) | {"response": short(text)}
    try:
        state = (await env.step(move.state, move.role, text)).state
        role = env.acting_role(state)
        env.outcome(state)
        if role is not None:
            env.observe(state, role)
    except CallFaultError as fault:
        fail(f"{fault}; {place(evidence)}", **evidence, error=str(fault))


async def termination(case: Case) -> str:
    """Every episode ends by itself within max_turns passes."""
    limit = case.env.max_turns * len(case.env.roles)
    longest = 0
    for trace in case.traces:
        unfinished = not trace.over and not trace.gave_up
        if trace.fault is None and (unfinished or len(trace.moves) > limit):
            where = trace.where()
            fail(
                f"still not over after {limit} responses ({case.env.max_turns} turns of "
                f"{len(case.env.roles)} roles): {place(where)}",
                **where,
                responses=limit,
            )
        longest = max(longest, len(trace.moves))
    return f"at most {longest} responses an episode, {limit} allowed"


async def turn_order(case: Case) -> str:
    """Known roles act in the order of `roles`, at most max_turns times each."""
    roles, allowed = case.env.roles, case.env.max_turns
    fresh = case.fresh()
    for trace in case.traces:
        passes, last = 1, -1
        for move in trace.moves:
            where = trace.where(move)
            if move.role not in roles:
                fail(f"acting_role named {move.role!r}, not one of {list(roles)}: {place(where)}", **where)
            again = {case.env.acting_role(move.state), fresh.acting_role(move.state)}
            if again != {move.role}:
                fail(
                    f"acting_role gave {move.role!r}, then {sorted(map(str, again))} "
                    f"for the same state: {place(where)}",
                    **where,
                    second=sorted(map(str, again)),
                )
            position = roles.index(move.role)
            passes += position <= last
            last = position
            if move.turn > allowed or passes > allowed:
                counted = f"turn {move.turn} of role {move.role!r}, pass {passes} over the team"
                fail(f"{counted}, but max_turns is {allowed}: {place(where)}", **where, max_turns=allowed)
    return f"{len(case.traces)} episodes, order {' > '.join(roles)}"


async def observations(case: Case) -> str:
    """Observations are well formed, pure, and follow the state."""
    fresh = case.fresh()
    later: dict[str, list[bool]] = {}
    longest = 0
    for trace in case.traces:
        seen: dict[str, Observation] = {}
        for move in trace.moves:
            where = trace.where(move)
            if (problem := _malformed(move.observation)) is not None:
                fail(f"{problem}: {place(where)}", **where, observation=short(move.observation, 400))
            longest = max(longest, sum(len(message.content) for message in move.observation.messages))
            for name, env in (("a second call", case.env), ("a new environment", fresh)):
                again = env.observe(move.state, move.role)
                if again != move.observation:
                    fail(
                        f"{name} of observe shows something else for the same state: {place(where)}",
                        **where,
                        first=text_of(move.observation),
                        second=text_of(again),
                    )
            if move.role in seen:
                later.setdefault(move.role, []).append(seen[move.role] != move.observation)
            seen[move.role] = move.observation
    for role, changed in later.items():
        if len(changed) >= 3 and not any(changed):
            fail(
                f"role {role!r} saw the same text again in all of its {len(changed)} later turns, "
                "whatever had happened",
                role=role,
            )
    if longest > _ECHO_LIMIT:
        return f"well formed; the longest has {longest} characters: a long response is echoed in full"
    return f"well formed and pure; the longest has {longest} characters"


def _malformed(observation: Observation) -> str | None:
    messages = observation.messages
    if not isinstance(messages, tuple) or not messages:
        return "an observation must hold a tuple of messages"
    for message in messages:
        if not isinstance(message, Message) or not isinstance(message.content, str):
            return f"an observation must hold messages with text, not {short(message)}"
        if message.role == "system":
            return "an observation must hold no system message (the role's prompt is the only one)"
        if message.role not in ("user", "assistant"):
            return f"a message's role must be user or assistant, not {message.role!r}"
        try:
            message.content.encode()
        except UnicodeEncodeError:
            return "a message holds text that UTF-8 cannot write"
    if messages[-1].role != "user":
        return "an observation must end with a user message"
    return "an observation is empty" if not messages[-1].content.strip() else None


async def facts(case: Case) -> str:
    """Facts are named scalars."""
    names: set[str] = set()
    for trace, move in case.moves("facts", 10**9):
        for name, value in move.transition.facts.items():
            where = trace.where(move)
            if not isinstance(name, str) or type(value) not in _FACT_TYPES:
                wanted = "bool, int, float or text"
                fail(
                    f"fact {name!r} is a {type(value).__name__}, not {wanted}: {place(where)}",
                    **where,
                    fact=str(name),
                    value=short(value),
                )
            if isinstance(value, float) and not math.isfinite(value):
                fail(f"fact {name!r} is {value}: {place(where)}", **where, fact=name, value=str(value))
            names.add(name)
    if not names:
        fail("no transition carries a fact: reward functions have nothing to score")
    return f"{len(names)} names: {', '.join(sorted(names))}"


async def outcomes(case: Case) -> str:
    """Success means solved: never for silence, and as the fact `solved` says."""
    low, high = math.inf, -math.inf
    for trace in case.traces:
        if trace.outcome is None:
            continue
        where = trace.where()
        success, score = trace.outcome.success, trace.outcome.score
        if type(success) is not bool or type(score) not in (int, float) or not math.isfinite(score):
            fail(f"outcome is {trace.outcome!r}: {place(where)}", **where, outcome=repr(trace.outcome))
        if case.env.outcome(trace.final) != trace.outcome:
            fail(f"outcome differs on a second call: {place(where)}", **where)
        if case.env.outcome(trace.start).success:
            fail(f"success before anybody acted: {place(where)}", **where)
        if trace.player == "silent" and success:
            fail(f"an episode of empty responses is a success: {place(where)}", **where)
        low, high = min(low, score), max(high, score)
    for trace, move in case.moves("outcome", 10**9):
        solved = move.transition.facts.get("solved")
        if solved is not None and bool(solved) != case.env.outcome(move.transition.state).success:
            where = trace.where(move)
            fail(f"fact solved is {solved}, the outcome says otherwise: {place(where)}", **where)
    junk = [trace for trace in case.played("garbage") if trace.outcome is not None]
    wins = sum(trace.outcome.success for trace in junk if trace.outcome is not None)
    if wins * 2 > len(junk):
        fail(f"{wins} of {len(junk)} episodes of garbage are a success", wins=wins, episodes=len(junk))
    return f"scores from {low:g} to {high:g}; garbage solved {wins} of {len(junk)}"


async def rendering(case: Case) -> str:
    """States can be drawn."""
    if not case.env.can("render"):
        skip("the environment has no render method")
    for trace, move in case.moves("render", 40):
        for state in (move.state, move.transition.state):
            try:
                drawn = case.env.render(state)
            except CallFaultError as fault:
                fail(f"{fault}; {place(trace.where(move))}", **trace.where(move))
            if drawn != case.env.render(state) or text_of(move.state) != move.state_text:
                fail(f"render is not pure: {place(trace.where(move))}", **trace.where(move))
    return "drawn without faults"
