"""The conformance kit: the toy passes, and every check fails on an environment made to break it."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import textwrap

import attrs
import pytest

from pettingllms.api import Message, Observation, Outcome, Task, Transition
from pettingllms.errors import ConfigError, PluginError
from pettingllms.plugins.specs import EnvironmentSpec
from pettingllms.team.reward import Reward
from pettingllms.testing import CHECKS, Parts, check_environment, checks_play, parts_of
from pettingllms.testing.toy import (
    CLUE,
    CLUE_REWARD,
    ClueEnvironment,
    ClueOptions,
    ClueReward,
    ClueRewardOptions,
    ClueState,
    ClueSuite,
)

OPTIONS = ClueOptions()


def parts(env=ClueEnvironment, suite=ClueSuite, state=ClueState, reward=ClueReward, **changes):
    made = Parts(
        name="test/broken",
        make_environment=lambda: env(OPTIONS),
        make_suite=lambda num_tasks, seed: suite(OPTIONS, num_tasks, seed),
        state=state,
        declared_roles=("caller", "answerer"),
        make_reward=lambda: reward(ClueRewardOptions()),
    )
    return attrs.evolve(made, **changes)


def test_the_toy_conforms_under_several_options_and_the_report_travels():
    for options in (
        {},
        {"length": 1, "max_turns": 1, "digits": 7},
        {"length": 3, "max_turns": 5, "offset": 0},
    ):
        report = check_environment(parts_of(CLUE, options, reward=CLUE_REWARD), episodes=6, seed=3)
        report.require()
        assert [result.name for result in report.results] == list(CHECKS)
        assert {result.status for result in report.results} == {"pass"}
    plain = json.loads(json.dumps(report.to_plain()))
    assert plain["ok"] is True
    assert plain["options"]["length"] == 3


def test_it_can_be_called_from_an_async_test():
    async def inside():
        return check_environment(parts(), episodes=1)

    asyncio.run(inside()).require()


def test_the_same_seed_gives_the_same_report():
    first, second = (check_environment(parts(), seed=5) for _ in range(2))
    shown = [
        [(r.name, r.status, re.sub("slowest.*", "", r.detail)) for r in each.results]
        for each in (first, second)
    ]
    assert shown[0] == shown[1]


def test_missing_abilities_are_skipped_with_the_reason():
    class Plain(ClueEnvironment):
        expert = random_response = render = None

    report = check_environment(parts(Plain, make_reward=None))
    report.require()
    reasons = {result.name: result.detail for result in report.results if result.status == "skipped"}
    assert set(reasons) == {"expert", "random-play", "render", "rewards", "process-purity"}
    assert reasons["expert"] == "the environment has no expert method"


def test_wrong_options_raise_a_config_error():
    with pytest.raises(
        ConfigError, match=r"^env\.options\.lenght is not a known key; did you mean 'length'\?$"
    ):
        parts_of(CLUE, {"lenght": 3})


# --- environments, each broken in one way: (parts, the check that must say so, what it must say) ---


class RolesAsList(ClueEnvironment):
    roles = property(lambda self: ["caller", "answerer"])


class ForeignRole(ClueEnvironment):
    roles = ("caller", "critic")


class NoTurns(ClueEnvironment):
    max_turns = 0


class Stumbles(ClueEnvironment):
    async def step(self, state, role, response):
        int(response)
        return await super().step(state, role, response)


class NotAsync(ClueEnvironment):
    def step(self, state, role, response):
        return Transition(state, {"legal": True})


class BareState(ClueEnvironment):
    async def step(self, state, role, response):
        return (await super().step(state, role, response)).state


class Endless(ClueEnvironment):
    def acting_role(self, state):
        if state.done == len(state.code):
            return None
        return "answerer" if state.answering else "caller"


class UnknownActor(ClueEnvironment):
    def acting_role(self, state):
        role = super().acting_role(state)
        return "oracle" if role == "answerer" else role


class WrongOrder(ClueEnvironment):
    roles = ("answerer", "caller")


class Moody(ClueEnvironment):
    asked = 0

    def acting_role(self, state):
        self.asked += 1
        role = super().acting_role(state)
        return "answerer" if role and self.asked % 5 == 0 else role


class SystemPrompt(ClueEnvironment):
    def observe(self, state, role):
        return Observation((Message("system", "Be good."), Message("user", "go")))


class Mute(ClueEnvironment):
    def observe(self, state, role):
        return Observation.of("  ")


class Stale(ClueEnvironment):
    def observe(self, state, role):
        return Observation.of(f"{role}, the code is {state.code}")


class Remembers(ClueEnvironment):
    seen = 0

    def observe(self, state, role):
        self.seen += 1
        return Observation.of(f"observation {self.seen}")


class ListFact(ClueEnvironment):
    async def step(self, state, role, response):
        found = await super().step(state, role, response)
        return Transition(found.state, {**found.facts, "path": [1, 2]})


class NanFact(ListFact):
    async def step(self, state, role, response):
        found = await ClueEnvironment.step(self, state, role, response)
        return Transition(found.state, {**found.facts, "ratio": math.nan})


class SuccessAtTimeout(ClueEnvironment):
    def outcome(self, state):
        return Outcome(success=self.acting_role(state) is None, score=0.0)


class Contradicts(ClueEnvironment):
    def outcome(self, state):
        return Outcome(success=False, score=0.0)


@attrs.define
class LooseState:
    code: list[int]
    done: int = 0
    turn: int = 0
    answering: bool = False
    said: int | None = None


class MutatesState(ClueEnvironment):
    def start(self, task, seed):
        return LooseState(code=list(task.data["code"]))

    async def step(self, state, role, response):
        found = await super().step(state, role, response)
        for name in ("done", "turn", "answering", "said"):
            setattr(state, name, getattr(found.state, name))
        return Transition(state, found.facts)


class Unfrozen(ClueEnvironment):
    def start(self, task, seed):
        return LooseState(code=list(task.data["code"]))

    async def step(self, state, role, response):
        found = await super().step(state, role, response)
        kept = {name: getattr(found.state, name) for name in ("done", "turn", "answering", "said")}
        return Transition(LooseState(code=list(state.code), **kept), found.facts)


class Counts(ClueEnvironment):
    steps = 0

    async def step(self, state, role, response):
        self.steps += 1
        found = await super().step(state, role, response)
        return Transition(found.state, {**found.facts, "steps": self.steps})


class SharesDesk(ClueEnvironment):
    """Right while one branch runs at a time: the state is parked on self across an await."""

    async def step(self, state, role, response):
        self.desk = state
        await asyncio.sleep(0)
        return await super().step(self.desk, role, response)


class ListForTuple(ClueEnvironment):
    def start(self, task, seed):
        return ClueState(code=list(task.data["code"]))


class NoJson(ClueEnvironment):
    def start(self, task, seed):
        return attrs.evolve(super().start(task, seed), said=1j)


@attrs.frozen
class LeakyState(ClueState):
    hidden: int = attrs.field(default=0, init=False, eq=False)


class HidesMemory(ClueEnvironment):
    """Equal to itself after JSON, but a field that JSON leaves out decides what comes next."""

    def start(self, task, seed):
        return LeakyState(code=tuple(task.data["code"]))

    async def step(self, state, role, response):
        found = await super().step(state, role, response)
        kept = {field.name: getattr(found.state, field.name) for field in attrs.fields(ClueState)}
        following = LeakyState(**kept)
        object.__setattr__(following, "hidden", state.hidden + 1)
        return Transition(following, {**found.facts, "count": following.hidden})


class ChanceAtStart(ClueEnvironment):
    def start(self, task, seed):
        return attrs.evolve(super().start(task, seed), done=random.randrange(2))


class GlobalChance(ClueEnvironment):
    async def step(self, state, role, response):
        random.random()
        return await super().step(state, role, response)


class BadExpert(ClueEnvironment):
    def expert(self, state, role):
        return "0"


class Quitter(ClueEnvironment):
    """Its expert gives up half-way of an episode that only it has played."""

    def expert(self, state, role):
        return super().expert(state, role) if state.done == 0 else None


class ExpertInNumbers(ClueEnvironment):
    def expert(self, state, role):
        return int(super().expert(state, role))


class TooEasy(ClueEnvironment):
    def random_response(self, state, role, rng):
        return self.expert(state, role)


class OwnDice(ClueEnvironment):
    def __init__(self, options):
        super().__init__(options)
        self.dice = random.Random(1)

    def random_response(self, state, role, rng):
        return str(self.dice.randrange(1000))


class CannotDraw(ClueEnvironment):
    def render(self, state):
        return state.board


class NoTestSplit(ClueSuite):
    def size(self, split):
        return 0 if split == "test" else super().size(split)


class SeedBlind(ClueSuite):
    def __init__(self, options, num_tasks=None, seed=0):
        super().__init__(options, num_tasks, 0)


class SeededTest(ClueSuite):
    def __init__(self, options, num_tasks=None, seed=0):
        super().__init__(options, num_tasks, seed)
        random.Random(seed).shuffle(self._codes["test"])


class GlobalShuffle(ClueSuite):
    def __init__(self, options, num_tasks=None, seed=0):
        super().__init__(options, num_tasks, seed)
        random.shuffle([1, 2, 3])


class Unsteady(ClueSuite):
    calls = 0

    def task(self, split, index):
        self.calls += 1
        return super().task(split, (index + self.calls) % self.size(split))


class Overlap(ClueSuite):
    def __init__(self, options, num_tasks=None, seed=0):
        super().__init__(options, num_tasks, seed)
        self._codes["validation"][3] = self._codes["test"][5]

    def task(self, split, index):
        found = super().task(split, index)
        return attrs.evolve(found, id=f"{split}-{index}")


class OneId(ClueSuite):
    def task(self, split, index):
        return attrs.evolve(super().task(split, index), id="task")


class WrapsAround(ClueSuite):
    def task(self, split, index):
        return super().task(split, index % self.size(split))


class Infinite(ClueReward):
    def __call__(self, transition, role):
        return Reward(team=math.inf if transition.facts["solved"] else 0.0, local=0.0)


class Huge(ClueReward):
    def __call__(self, transition, role):
        return Reward(team=0.0, local=-1e6)


class Drifts(ClueReward):
    calls = 0

    def __call__(self, transition, role):
        self.calls += 1
        return Reward(team=1.0 / self.calls, local=0.0)


class BareNumber(ClueReward):
    def __call__(self, transition, role):
        return 1.0


BROKEN = [
    (parts(RolesAsList), "declaration", r"roles must be a tuple of names"),
    (parts(ForeignRole), "declaration", r"roles \['critic'\] are not among the spec's roles"),
    (parts(NoTurns), "declaration", r"max_turns must be an integer above 0, not 0"),
    (parts(suite=NoTestSplit), "declaration", r"split 'test' must hold at least one task"),
    (parts(Stumbles), "any-text-is-legal", r"step raised ValueError: invalid literal.*response"),
    (parts(NotAsync), "any-text-is-legal", r"step is not async"),
    (parts(BareState), "any-text-is-legal", r"step returned ClueState, not a Transition"),
    (parts(Endless), "termination", r"still not over after 8 responses.*task 'clue-\d\d' \(test, garbage"),
    (parts(UnknownActor), "turn-order", r"acting_role named 'oracle'"),
    (parts(WrongOrder), "turn-order", r"pass 5 over the team, but max_turns is 4"),
    (parts(Moody), "turn-order", r"acting_role gave '\w+', then .* for the same state: task 'clue"),
    (parts(SystemPrompt), "observations", r"must hold no system message.*role 'caller', turn 1"),
    (parts(Mute), "observations", r"an observation is empty"),
    (parts(Stale), "observations", r"role 'caller' saw the same text again in all of its \d+ later turns"),
    (parts(Remembers), "observations", r"a second call of observe shows something else"),
    (parts(ListFact), "facts", r"fact 'path' is a list.*turn 1, response"),
    (parts(NanFact), "facts", r"fact 'ratio' is nan"),
    (parts(SuccessAtTimeout), "outcomes", r"an episode of empty responses is a success: task 'clue-"),
    (parts(Contradicts), "outcomes", r"fact solved is True, the outcome says otherwise.*turn \d"),
    (parts(MutatesState, state=LooseState), "immutable-state", r"changed after it was made: \w+: .* became"),
    (
        parts(Unfrozen, state=LooseState),
        "immutable-state",
        r"LooseState must be frozen.*'code' can be assigned",
    ),
    (parts(Unfrozen), "immutable-state", r"start returned a LooseState, not a ClueState"),
    (
        parts(Counts),
        "purity",
        r"facts\.steps: \d+ became \d+ on a second call.*task 'clue-.*role '\w+', turn",
    ),
    (parts(SharesDesk), "branch-isolation", r"beside 3 others differs from the same branch alone.*became"),
    (parts(ListForTuple), "json", r"ClueState is not equal to itself after JSON"),
    (parts(NoJson), "json", r"ClueState has no JSON form"),
    (parts(HidesMemory, state=LeakyState), "replay", r"from response \d diverged: facts\.count: \d became"),
    (parts(ChanceAtStart), "seed-purity", r"start differs on a second call.*done: "),
    (parts(GlobalChance), "seed-purity", r"^step uses the global random state"),
    (parts(suite=SeedBlind), "seed-purity", r"seeds 0 and 1 give the same train tasks"),
    (parts(suite=SeededTest), "seed-purity", r"test\[\d+\] depends on the seed"),
    (parts(suite=GlobalShuffle), "seed-purity", r"the task suite uses the global random state"),
    (parts(suite=Unsteady), "seed-purity", r"task train\[0\] differs in a second call: .*code"),
    (
        parts(suite=Overlap),
        "split-disjointness",
        r"test task 'test-5' is the same problem as validation task '",
    ),
    (parts(suite=OneId), "split-disjointness", r"the id 'task' stands for two different tasks"),
    (parts(suite=WrapsAround), "split-disjointness", r"task\('train', 60\) returned a task"),
    (parts(reward=Infinite), "rewards", r"reward team is inf: task.*role 'answerer'"),
    (parts(reward=Huge), "rewards", r"reward local is -1e\+06, beyond 100"),
    (parts(reward=Drifts), "rewards", r"the same transition was rewarded Reward.*then Reward"),
    (parts(reward=BareNumber), "rewards", r"returned 1.0, not a Reward"),
    (parts(BadExpert), "expert", r"the expert does not solve task 'clue-\d\d' \(test, expert play\) in 8"),
    (
        parts(Quitter),
        "expert",
        r"does not solve task 'clue-\d\d' \(test, expert play\): it gives up after 2 responses",
    ),
    (parts(ExpertInNumbers), "expert", r"expert returned int, not a text or None"),
    (parts(TooEasy), "random-play", r"random play solves 24 of 24 tasks, above 50%"),
    (parts(OwnDice), "random-play", r"must draw from `rng` only: task 'clue"),
    (parts(CannotDraw), "render", r"render raised AttributeError"),
]


@pytest.mark.parametrize(
    ("broken", "check", "message"),
    BROKEN,
    ids=[f"{check}-{number}" for number, (_, check, _) in enumerate(BROKEN)],
)
def test_each_fault_is_named_by_its_check(broken, check, message):
    report = check_environment(broken, episodes=6)
    result = report.result(check)
    assert result.status == "fail", result
    assert re.search(message, result.detail), result.detail
    assert "\n" not in result.detail
    with pytest.raises(AssertionError, match=check):
        report.require()
    json.dumps(report.to_plain())


def test_an_expert_may_give_up_where_others_have_led():
    gave_up = 0

    class Fussy(ClueEnvironment):
        def expert(self, state, role):
            nonlocal gave_up
            lost = role == "answerer" and state.said != state.code[state.done]
            gave_up += lost
            return None if lost else super().expert(state, role)

    report = check_environment(parts(Fussy))
    report.require()
    assert gave_up > 3
    assert report.result("expert").detail == "solved 9 of 9, at most 4 responses"


def test_an_expert_that_gives_up_fails_its_own_check_and_no_other():
    report = check_environment(parts(Quitter))
    assert [result.name for result in report.failures] == ["expert"]


def test_every_check_has_an_environment_that_breaks_it():
    assert {check for _, check, _ in BROKEN} | {"process-purity"} == set(CHECKS)


def test_a_shared_desk_is_found_by_branch_isolation_alone():
    report = check_environment(parts(SharesDesk))
    assert [result.name for result in report.failures] == ["branch-isolation"]
    evidence = report.result("branch-isolation").evidence
    assert {"task", "role", "turn", "response", "first", "second"} <= set(evidence)
    assert evidence["first"] != evidence["second"]


def test_a_step_that_hangs_is_a_failure(monkeypatch):
    class Hangs(ClueEnvironment):
        async def step(self, state, role, response):
            await asyncio.sleep(3600)

    monkeypatch.setattr(checks_play, "SLOW_CALL", 0.02)
    report = check_environment(parts(Hangs), episodes=1)
    assert "step did not return within" in report.result("any-text-is-legal").detail
    assert report.seconds < 5


def test_garbage_that_solves_is_a_failure():
    class AnythingGoes(ClueEnvironment):
        async def step(self, state, role, response):
            return await super().step(state, role, self.expert(state, role) if response else "")

    detail = check_environment(parts(AnythingGoes)).result("outcomes").detail
    assert re.fullmatch(r"\d of 9 episodes of garbage are a success", detail)


def test_a_suite_that_cannot_make_its_tasks_is_reported_not_raised():
    class Broken(ClueSuite):
        def task(self, split, index):
            raise FileNotFoundError("levels.txt")

    report = check_environment(parts(suite=Broken))
    assert (
        report.result("split-disjointness").detail == "a task cannot be made: FileNotFoundError: levels.txt"
    )


MODULE = """
import attrs
from pettingllms.testing import toy

class Environment(toy.ClueEnvironment):
    async def step(self, state, role, response):
        found = await super().step(state, role, response)
        return attrs.evolve(found, facts={**found.facts, "key": hash("a text") % 1000003})
"""


def test_what_depends_on_the_hash_seed_is_found_by_a_second_process(tmp_path, monkeypatch):
    (tmp_path / "hashing_toy.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    spec = attrs.evolve(CLUE, factory="hashing_toy:Environment")
    report = check_environment(parts_of(spec, reward=CLUE_REWARD), episodes=3)
    assert [result.name for result in report.failures] == ["process-purity"]
    assert re.search(
        r"the episode of task 'clue-.* differs .*facts\.key: \d+ became", report.failures[0].detail
    )


def test_a_class_that_is_no_environment_is_a_plugin_error():
    spec = attrs.evolve(CLUE, factory="pettingllms.testing.toy:ClueSuite")
    with pytest.raises(PluginError, match=r"environment 'toy/clue': ClueSuite lacks acting_role, max_turns"):
        parts_of(spec)


def test_the_fixture_looks_names_up_and_fails_the_test(check_environment, toy_registry):
    assert check_environment("toy/clue", registry=toy_registry, options={"length": 1}).ok
    assert isinstance(toy_registry.environment("clue"), EnvironmentSpec)
    with pytest.raises(AssertionError, match="test/broken does not conform:\n  purity: "):
        check_environment(parts(Counts))


def test_the_kit_leaves_the_global_random_state_alone():
    before = random.getstate()
    check_environment(parts())
    assert random.getstate() == before


def test_toy_rules_by_hand():
    env = ClueEnvironment(ClueOptions(length=2, offset=3))
    state = env.start(Task("t", {"code": [8, 5]}), 0)

    def say(text):
        nonlocal state
        transition = asyncio.run(env.step(state, env.acting_role(state), text))
        state = transition.state
        return transition.facts

    assert say("it is 8!") == {"legal": True, "called": True, "solved": False}
    assert "Heard: 8." in env.observe(state, "answerer").messages[0].content
    assert say("1") == {"legal": True, "followed": True, "correct": True, "progress": 0.5, "solved": False}
    assert say("none")["legal"] is False
    assert "Heard: nothing" in env.observe(state, "answerer").messages[0].content
    facts = say("8")  # right by luck: nothing was heard
    assert (facts["followed"], facts["correct"], facts["solved"]) == (False, True, True)
    assert env.acting_role(state) is None
    assert env.outcome(state) == Outcome(True, 1.0)
    reward = ClueReward(ClueRewardOptions())(Transition(state, facts), "answerer")
    assert (reward.team, reward.local) == (2.0, 0.0)
