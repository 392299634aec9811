"""Requests, samples, branches, groups and episodes.

A group is the unit of sampling, advantage and training: the K branches of one task, role
and turn, all sampled from one identical prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import attrs

from pettingllms.env.types import Fact, Message, Outcome, Task
from pettingllms.team.reward import Reward


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed for `parts`, the same in every process and Python version."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@attrs.frozen
class SamplingParams:
    """How responses are drawn.

    Attributes:
        temperature: Divides the logits; 0 takes the most likely token.
        top_p: Share of probability to sample from.
        top_k: Number of tokens to sample from, 0 for all.
        max_new_tokens: Tokens of a response at most, its end token included.
        stop: Texts that end a response; the response keeps them.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 512
    stop: tuple[str, ...] = ()

    @property
    def filtered(self) -> bool:
        """Whether top_p or top_k narrows the distribution."""
        return self.top_p < 1.0 or self.top_k > 0


FinishReason = Literal["stop", "length"]


@attrs.frozen
class Sample:
    """One response as tokens.

    Attributes:
        token_ids: R tokens, the end token included when there is one.
        logprobs: R log-probabilities (natural log) under the distribution that was sampled
            from, after temperature, top_p and top_k.
        finish_reason: ``length`` when the response ran out of tokens.
        policy_version: Updates that the policy had seen.
        kept: Under top_p or top_k, the R sets of token ids that could have been sampled.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    policy_version: int
    kept: tuple[tuple[int, ...], ...] | None = None


class Generator(Protocol):
    """Tokens in, tokens out."""

    async def sample(
        self, policy: str, prompt_ids: Sequence[int], n: int, params: SamplingParams, seed: int
    ) -> list[Sample]:
        """Return `n` independent responses of `policy` to one prompt.

        Raises:
            GenerationFault: The request could not be answered.
        """
        ...


class ChatCodec(Protocol):
    """Chat messages to the tokens of one policy, and its tokens to text."""

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the prompt's tokens, ready for the response to follow."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of a response, without end tokens."""
        ...


@attrs.frozen
class Seat:
    """A role with all that playing it takes."""

    role: str
    system_prompt: str
    policy: str
    codec: ChatCodec
    params: SamplingParams
    max_length: int


@attrs.frozen
class GroupKey:
    """Identity of a group. `turn` counts the earlier acts of `role` in the episode."""

    task_id: str
    instance: int
    role: str
    turn: int


@attrs.frozen
class Branch:
    """One response, what it led to and what it earned.

    Attributes:
        sample: Its tokens.
        response: Its text.
        facts: The transition's facts.
        reward: Team, local and parts; None when `fault` is set.
        score: The mixed reward that the branch is trained on; None when `fault` is set.
        fault: What the environment or the reward function did wrong, never a zero reward.
    """

    sample: Sample
    response: str
    facts: Mapping[str, Fact]
    reward: Reward | None
    score: float | None
    fault: str | None = None


@attrs.frozen
class Group:
    """The branches of one prompt. K of them under AT-GRPO, one in a rollout without branching."""

    key: GroupKey
    policy: str
    messages: tuple[Message, ...]
    prompt_ids: tuple[int, ...]
    branches: tuple[Branch, ...]
    committed: int
    temperature: float

    @property
    def scores(self) -> list[float] | None:
        """The K rewards, or None when any branch has a fault."""
        scores = [branch.score for branch in self.branches]
        return None if any(score is None for score in scores) else scores  # type: ignore[return-value]


@attrs.frozen
class Episode:
    """One task played to its end along the committed branches.

    Attributes:
        task: The problem.
        instance: Tells apart episodes of one task in one iteration.
        seed: Seed given to `Environment.start`.
        groups: In the order of acting.
        outcome: How the last state stands; None when a fault ended the episode before.
        turns: Passes over the team (the most that any role acted).
        fault: What ended the episode early.
        final_state: JSON of the last state.
    """

    task: Task
    instance: int
    seed: int
    groups: tuple[Group, ...]
    outcome: Outcome | None
    turns: int
    fault: str | None = None
    final_state: Any = None

    @property
    def success(self) -> bool:
        """True only for a solved task."""
        return self.outcome is not None and self.outcome.success
