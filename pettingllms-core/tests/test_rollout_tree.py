"""The tree of AT-GRPO: who sees what, what is rewarded, what is followed, and what a fault does.

The game of these tests: two roles, `a` and `b`, take turns to say a number, and a branch is worth
the number that it said. Faults D1 to D6 and D8 of the predecessor are pinned here.
"""

from __future__ import annotations

import asyncio
import random

import attrs
import pytest

from pettingllms.algorithm.estimators import at_grpo, group_advantages
from pettingllms.env.types import Observation, Outcome, Task, Transition
from pettingllms.errors import GenerationFault
from pettingllms.rollout.collect import Rollouts
from pettingllms.rollout.samplers import (
    commit_rule,
    greedy,
    play_once,
    sample_independent,
    sample_trees,
    sampled,
)
from pettingllms.rollout.types import Sample, SamplingParams, Seat, derive_seed
from pettingllms.team.reward import Reward


@attrs.frozen
class Said:
    task: str
    numbers: tuple[str, ...] = ()


class SayingGame:
    """Says are appended to the state; an ``!`` ends the episode."""

    def __init__(self, roles=("a", "b"), max_turns=2):
        self.roles = roles
        self.max_turns = max_turns

    def start(self, task, seed):
        return Said(task.id)

    def acting_role(self, state):
        over = len(state.numbers) >= self.max_turns * len(self.roles)
        if over or (state.numbers and "!" in state.numbers[-1]):
            return None
        return self.roles[len(state.numbers) % len(self.roles)]

    def observe(self, state, role):
        return Observation.of(f"{state.task} {role} heard {' '.join(state.numbers)}.")

    async def step(self, state, role, response):
        if response == "crash":
            raise RuntimeError("the rules broke")
        if response == "hang":
            await asyncio.sleep(60)
        if response == "socket":
            raise TimeoutError("no answer from the judge")
        value = float(response.strip("!"))
        return Transition(attrs.evolve(state, numbers=(*state.numbers, response)), {"value": value})

    def outcome(self, state):
        return Outcome(success=any("!" in n for n in state.numbers), score=0.0)


def worth_its_number(transition, role):
    value = transition.facts["value"]
    return Reward(team=value, local=value)


class Bytes:
    """One token a byte."""

    def encode(self, messages):
        return tuple("\n".join(f"{m.role}: {m.content}" for m in messages).encode())

    def decode(self, token_ids):
        return bytes(token_ids).decode()


class Scripted:
    """Answers with `rule(prompt, n, seed) -> texts` and remembers every request."""

    def __init__(self, rule):
        self.rule = rule
        self.requests = []

    async def sample(self, policy, prompt_ids, n, params, seed):
        prompt = bytes(prompt_ids).decode()
        self.requests.append((policy, prompt, n, params, seed))
        await asyncio.sleep(0)
        return [
            Sample(tuple(text.encode()), (-1.0,) * len(text), "stop", 0)
            for text in self.rule(prompt, n, seed)
        ]


def numbers(prompt, n, seed):
    rng = random.Random(seed)
    return [f"{rng.uniform(0, 1):.6f}" for _ in range(n)]


def rollouts(rule=numbers, env=None, reward=worth_its_number, max_length=4096, timeout=5.0):
    env = env or SayingGame()
    seats = {
        role: Seat(
            role, f"You are {role}.", f"policy-{role}", Bytes(), SamplingParams(max_new_tokens=9), max_length
        )
        for role in ("a", "b")
    }
    return Rollouts(env, seats, Scripted(rule), reward, alpha=0.7, form="convex", timeout=timeout)


def tasks(count):
    return [Task(f"task{i}", {}) for i in range(count)]


def trees(setup, count=1, seed=0, branches=4, commit=greedy):
    return asyncio.run(sample_trees(setup, tasks(count), seed, branches=branches, commit=commit))


def said(group):
    return [float(branch.response.strip("!")) for branch in group.branches]


def test_d1_every_group_is_one_task_role_and_turn():
    def far_apart(prompt, n, seed):
        scale = 1000 * int(prompt.split("task")[1][0])
        return [str(scale + float(text)) for text in numbers(prompt, n, seed)]

    episodes = trees(rollouts(far_apart, SayingGame(max_turns=3)), count=8)
    groups = [group for episode in episodes for group in episode.groups]
    assert len(groups) == len({group.key for group in groups}) == 8 * 2 * 3
    assert {(g.key.role, g.key.turn) for g in groups} == {(r, t) for r in "ab" for t in range(3)}
    estimate = at_grpo(episodes, "std", drop_zero_variance=True)
    # Tasks lie a thousand apart: a group that mixed two of them would have branches at +-1 only.
    for group, trained in zip(groups, estimate.groups, strict=True):
        assert all(group.key.task_id in bytes(trained.prompt_ids).decode() for _ in trained.samples)
        assert [item.advantage for item in trained.samples] == pytest.approx(
            group_advantages(said(group), "std")
        )
    assert {len(group.samples) for group in estimate.groups} == {4}


def test_a_task_given_twice_is_two_instances():
    setup = rollouts()
    twice = [Task("same", {}), Task("same", {})]
    episodes = asyncio.run(sample_trees(setup, twice, 0, branches=2, commit=greedy))
    assert len({group.key for episode in episodes for group in episode.groups}) == 2 * 4
    assert episodes[0].groups[0].branches != episodes[1].groups[0].branches
    independent = asyncio.run(sample_independent(setup, twice, 0, rollouts_per_task=2))
    flat = [episode for group in independent for episode in group]
    assert len({group.key for episode in flat for group in episode.groups}) == 4 * 4


def test_d2_the_second_role_is_rewarded_branch_by_branch():
    episode = trees(rollouts())[0]
    for group in episode.groups:
        assert len(set(said(group))) == 4
        assert group.scores == pytest.approx(said(group))  # convex: 0.7 x + 0.3 x


def test_a_reward_depends_on_its_own_branch_alone():
    def scores(third):
        episode = trees(rollouts(lambda prompt, n, seed: ["0.5", "0.9", third, "0.1"]))[0]
        return [group.scores for group in episode.groups]

    for before, after in zip(scores("0.3"), scores("0.7"), strict=True):
        assert (before[:2], before[3]) == (after[:2], after[3])
        assert before[2] != after[2]


def test_d3_rewards_and_prompts_follow_the_episode_in_later_turns():
    setup = rollouts(env=SayingGame(max_turns=3))
    episode = trees(setup)[0]
    followed = []
    for group in episode.groups:
        prompt = bytes(group.prompt_ids).decode()
        assert prompt.endswith(f"heard {' '.join(followed)}.")
        followed.append(group.branches[group.committed].response)
    assert episode.final_state == {"task": "task0", "numbers": followed}
    assert episode.turns == 3
    assert len({tuple(group.scores) for group in episode.groups}) == 6


def test_d4_the_second_role_sees_what_the_first_just_did():
    setup = rollouts(env=SayingGame(max_turns=1))
    first, second = trees(setup)[0].groups
    assert first.branches[first.committed].response in bytes(second.prompt_ids).decode()
    assert all(
        b.response not in bytes(second.prompt_ids).decode()
        for b in first.branches
        if b.score < max(first.scores)
    )
    assert bytes(second.prompt_ids).decode().startswith("system: You are b.\nuser: ")


@pytest.mark.parametrize("ending_role", ["a", "b"])
def test_d5_an_episode_that_ends_early_keeps_every_sample(ending_role):
    def rule(prompt, n, seed):
        ends = f"task0 {ending_role} heard" in prompt and prompt.count("0.") >= 2
        return [text + ("!" if ends else "") for text in numbers(prompt, n, seed)]

    setup = rollouts(rule, SayingGame(max_turns=3))
    episode = trees(setup)[0]
    acts = 3 if ending_role == "a" else 4
    assert episode.success
    assert len(setup.generator.requests) == len(episode.groups) == acts  # nothing was sampled and dropped
    estimate = at_grpo([episode], "std", drop_zero_variance=True)
    assert [len(group.samples) for group in estimate.groups] == [4] * acts


def test_d6_one_request_a_group_and_no_sample_twice():
    setup = rollouts()
    episodes = trees(setup, count=3, branches=5)
    groups = [group for episode in episodes for group in episode.groups]
    requests = setup.generator.requests
    assert [n for _, _, n, _, _ in requests] == [5] * len(groups)
    assert len({seed for *_, seed in requests}) == len(requests)
    assert {(p, prompt) for p, prompt, *_ in requests} == {
        (group.policy, bytes(group.prompt_ids).decode()) for group in groups
    }
    estimate = at_grpo(episodes, "std", drop_zero_variance=False)
    trained = [item.sample.token_ids for group in estimate.groups for item in group.samples]
    assert len(trained) == len(set(trained)) == 3 * 4 * 5
    assert {group.policy for group in estimate.groups if group.role == "a"} == {"policy-a"}


def test_d8_a_failed_generation_is_a_fault_and_never_a_sample():
    def rule(prompt, n, seed):
        if "task1" in prompt:
            raise GenerationFault("the server is gone")
        if "task2" in prompt and " b " in prompt:
            raise OSError("connection reset")
        return numbers(prompt, n, seed)

    fine, gone, cut = trees(rollouts(rule), count=3)
    assert fine.fault is None
    assert (gone.fault, gone.groups, gone.outcome) == ("generation: the server is gone", (), None)
    assert cut.fault == "generation: OSError: connection reset"
    assert [group.key.role for group in cut.groups] == ["a"]
    assert not cut.success
    estimate = at_grpo([fine, gone, cut], "std", drop_zero_variance=True)
    assert (estimate.total, estimate.faulty, len(estimate.groups)) == (5, 0, 5)


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ("crash", "environment: RuntimeError: the rules broke"),
        ("hang", "environment: step took over 0.05 s"),
        ("socket", "environment: TimeoutError: no answer from the judge"),
        ("nan", "environment: ValueError: the reward is nan"),
        ("inf", "environment: ValueError: the reward is inf"),
    ],
)
def test_a_faulty_branch_costs_its_group_and_nothing_else(response, text):
    def rule(prompt, n, seed):
        answers = ["0.9", "0.5", "0.1"]
        if "task0 b" in prompt and prompt.count("0.") == 1:
            answers[1] = response
        return answers

    episode, other = trees(rollouts(rule, timeout=0.05), count=2, branches=3)
    assert episode.fault is None
    assert [group.scores is None for group in episode.groups] == [False, True, False, False]
    group = episode.groups[1]
    assert [branch.fault for branch in group.branches] == [None, text, None]
    assert (group.branches[1].score, group.branches[1].reward) == (None, None)
    assert group.committed == 0  # the best of those without a fault
    estimate = at_grpo([episode, other], "std", drop_zero_variance=True)
    assert (estimate.total, estimate.faulty, len(estimate.groups)) == (8, 1, 7)


def test_a_reward_function_that_raises_is_a_fault():
    def picky(transition, role):
        raise KeyError("progress")

    episode = trees(rollouts(reward=picky))[0]
    assert episode.fault == "environment: KeyError: 'progress'"
    assert len(episode.groups) == 1
    assert at_grpo([episode], "std", drop_zero_variance=True).faulty == 1


def test_an_episode_whose_branches_all_fail_ends_with_the_fault():
    def rule(prompt, n, seed):
        return ["crash"] * n if " b " in prompt else numbers(prompt, n, seed)

    episode = trees(rollouts(rule))[0]
    assert episode.fault == "environment: RuntimeError: the rules broke"
    assert episode.outcome is None
    assert [group.scores is None for group in episode.groups] == [False, True]


def test_a_prompt_that_leaves_no_room_is_a_fault_and_the_room_bounds_the_response():
    first = len(Bytes().encode(SayingGame().observe(Said("task0"), "a").messages)) + len(
        "system: You are a.\n"
    )
    setup = rollouts(max_length=first + 4)
    episode = trees(setup)[0]
    assert setup.generator.requests[0][3].max_new_tokens == 4
    assert len(episode.groups) == 1
    assert (
        episode.fault
        == f"generation: the prompt of 'b' has {first + 8} tokens, model.max_length is {first + 4}"
    )


@pytest.mark.parametrize(
    ("env", "text"),
    [
        (SayingGame(roles=("a", "c")), "the environment names the role 'c', which is not in its team"),
        (SayingGame(roles=("a", "a")), "'a' is asked to act more often than max_turns = 2"),
    ],
)
def test_an_environment_that_breaks_its_contract_ends_the_episode(env, text):
    episode = trees(rollouts(env=env))[0]
    assert episode.fault == f"environment: ValueError: {text}"
    assert episode.outcome is None


def test_ties_at_the_top_are_broken_by_the_seed():
    def tied(prompt, n, seed):
        return ["0.2", "0.7", "0.7", "0.1"]

    def committed(seed):
        return [group.committed for group in trees(rollouts(tied), seed=seed)[0].groups]

    seen = [committed(seed) for seed in range(20)]
    assert {c for run in seen for c in run} == {1, 2}
    assert seen == [committed(seed) for seed in range(20)]


def test_commit_rules():
    rng = random.Random(0)
    indices, scores = [0, 2, 3], [0.1, 0.9, 0.5]

    def share(rule):
        return sum(rule(indices, scores, rng) == 2 for _ in range(3000)) / 3000

    assert share(commit_rule("greedy", 0.5)) == 1.0
    assert share(commit_rule("sampled", 0.5)) == pytest.approx(1 / 3, abs=0.03)
    # A greedy commit always takes the best, a sampled one a third of the time: 1/2 + 1/2 * 1/3.
    assert share(commit_rule("mixed", 0.5)) == pytest.approx(2 / 3, abs=0.03)
    assert {sampled(indices, scores, rng) for _ in range(50)} == set(indices)


def test_a_rollout_repeats_by_its_seed_whatever_runs_beside_it():
    alone = trees(rollouts(), count=1, seed=7)[0]
    assert trees(rollouts(), count=5, seed=7)[0] == alone
    assert trees(rollouts(), count=1, seed=8)[0].groups != alone.groups


def test_d11_independent_rollouts_never_branch():
    setup = rollouts()
    groups = asyncio.run(sample_independent(setup, tasks(2), 0, rollouts_per_task=3))
    assert [[episode.task.id for episode in group] for group in groups] == [["task0"] * 3, ["task1"] * 3]
    assert {n for _, _, n, _, _ in setup.generator.requests} == {1}
    assert len({seed for *_, seed in setup.generator.requests}) == 2 * 3 * 4
    assert len({episode.final_state["numbers"][0] for episode in groups[0]}) == 3
    once = asyncio.run(play_once(setup, tasks(2), 5))
    assert [len(group.branches) for episode in once for group in episode.groups] == [1] * 8


def test_seeds_are_the_same_in_every_process():
    assert derive_seed(1, "a") == derive_seed("1", "a") != derive_seed("1a")
    assert derive_seed(0, "commit") == 2776226136517012503
    assert len({derive_seed(i) for i in range(1000)}) == 1000
