"""What a batch of episodes says about itself. Names here are those of metrics.jsonl."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from pettingllms.rollout.types import Episode, Group


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return fmean(found) if found else 0.0


def diversity(group: Group) -> float:
    """Return the share of distinct responses among the branches: 1 when all K differ, 1/K when none do."""
    return len({branch.response for branch in group.branches}) / len(group.branches)


def _group_metrics(groups: Sequence[Group]) -> dict[str, float]:
    scored = [group for group in groups if group.scores is not None]
    rewards = [branch.reward for group in scored for branch in group.branches if branch.reward is not None]
    samples = [branch.sample for group in groups for branch in group.branches]
    return {
        "reward": _mean(score for group in scored for score in group.scores or ()),
        "team_reward": _mean(reward.team for reward in rewards),
        "local_reward": _mean(reward.local for reward in rewards),
        "zero_variance": _mean(len(set(group.scores or ())) == 1 for group in scored),
        "diversity": _mean(diversity(group) for group in groups),
        "response_length": _mean(len(sample.token_ids) for sample in samples),
        "truncated": _mean(sample.finish_reason == "length" for sample in samples),
    }


def rollout_metrics(episodes: Sequence[Episode], roles: Sequence[str]) -> dict[str, float]:
    """Return the metrics of an iteration's rollouts.

    `reward` is the mean mixed reward of a branch (of all branches, committed or not), `success_rate` and
    `episode_length` (turns) are of the committed path, `zero_variance` is the share of groups whose rewards
    are equal, `diversity` the share of distinct responses in a group. The same by role, as ``role/name``.
    """
    groups = [group for episode in episodes for group in episode.groups]
    metrics = {
        "success_rate": _mean(episode.success for episode in episodes),
        "score": _mean(episode.outcome.score for episode in episodes if episode.outcome is not None),
        "episode_length": _mean(episode.turns for episode in episodes),
        **_group_metrics(groups),
        "episodes": float(len(episodes)),
        "faulty_episodes": float(sum(episode.fault is not None for episode in episodes)),
        "faulty_branches": float(
            sum(branch.fault is not None for group in groups for branch in group.branches)
        ),
        "sampled_tokens": float(
            sum(len(branch.sample.token_ids) for group in groups for branch in group.branches)
        ),
        "prompt_tokens": float(sum(len(group.prompt_ids) for group in groups)),
    }
    if len(roles) > 1:
        for role in roles:
            own = _group_metrics([group for group in groups if group.key.role == role])
            metrics |= {f"{role}/{name}": value for name, value in own.items()}
    return metrics


def first_fault(episodes: Sequence[Episode]) -> str | None:
    """Return what went wrong in the first episode that a fault ended, if any did."""
    return next((episode.fault for episode in episodes if episode.fault is not None), None)
