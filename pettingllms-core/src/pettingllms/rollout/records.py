"""Episodes as JSON lines: all that it takes to read, compare and replay them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pettingllms.env.codec import to_plain
from pettingllms.rollout.types import Episode, Group


def _group_record(group: Group) -> dict[str, Any]:
    return {
        "role": group.key.role,
        "turn": group.key.turn,
        "policy": group.policy,
        "messages": to_plain(group.messages),
        "prompt_ids": list(group.prompt_ids),
        "committed": group.committed,
        "branches": [
            {
                "response": branch.response,
                "token_ids": list(branch.sample.token_ids),
                "logprobs": [round(value, 6) for value in branch.sample.logprobs],
                "finish_reason": branch.sample.finish_reason,
                "policy_version": branch.sample.policy_version,
                "facts": dict(branch.facts),
                "reward": None if branch.reward is None else to_plain(branch.reward),
                "score": branch.score,
                "fault": branch.fault,
            }
            for branch in group.branches
        ],
    }


def episode_record(episode: Episode, iteration: int) -> dict[str, Any]:
    """Return `episode` as plain data, with every branch of every act."""
    return {
        "iteration": iteration,
        "task": to_plain(episode.task),
        "instance": episode.instance,
        "seed": episode.seed,
        "outcome": None if episode.outcome is None else to_plain(episode.outcome),
        "turns": episode.turns,
        "fault": episode.fault,
        "acts": [_group_record(group) for group in episode.groups],
        "final_state": episode.final_state,
    }


def records(episodes: Sequence[Episode], iteration: int, limit: int | None) -> list[dict[str, Any]]:
    """Return up to `limit` episodes (None: all), those with a fault first: they must not go unseen."""
    ordered = sorted(episodes, key=lambda episode: episode.fault is None)
    return [episode_record(episode, iteration) for episode in ordered[:limit]]
