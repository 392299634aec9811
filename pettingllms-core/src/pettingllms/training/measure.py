"""Evaluating a checkpoint, or a model as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from pettingllms.config.load import parse_config
from pettingllms.config.schema import Config
from pettingllms.engine.local import LocalEngine
from pettingllms.errors import CheckpointError
from pettingllms.plugins.registry import Registry
from pettingllms.rollout.types import Episode, derive_seed
from pettingllms.training.checkpoint import find_checkpoint, policy_folders
from pettingllms.training.evaluation import (
    held_out,
    label_spread,
    play_held_out,
    play_scripted,
    scripted_players,
    summarise,
)
from pettingllms.training.run_dir import RunDir
from pettingllms.training.source import starting_weights
from pettingllms.training.team import build_problem, build_team, rollouts_of


@attrs.frozen
class Measured:
    """What an evaluation found.

    Attributes:
        environment: Full name.
        what: The checkpoint or model that was evaluated.
        rows: Row name to `Evaluation.to_plain`.
        spread: Least, median and largest value of the tasks' numeric labels.
        episodes: The team's episodes.
    """

    environment: str
    what: str
    rows: dict[str, dict[str, object]]
    spread: dict[str, dict[str, float]]
    episodes: list[Episode]


def config_of_run(where: Path, overrides: Sequence[str] = ()) -> tuple[Config, Path]:
    """Return the settings of a run with `overrides`, and its latest checkpoint, or `where` if it is one.

    Raises:
        CheckpointError: There is none.
    """
    root, checkpoint = find_checkpoint(where)
    path = RunDir(root).config
    if not path.is_file():
        raise CheckpointError(f"{str(root)!r} is no run: it holds no config.toml")
    return parse_config(path.read_text(encoding="utf-8"), str(path), overrides), checkpoint


def evaluate(
    config: Config,
    registry: Registry,
    *,
    checkpoint: Path | None,
    scripted: bool,
    say: Callable[[str], None],
) -> Measured:
    """Play `evaluation.final_num_tasks` tasks of `evaluation.final_split` with a team.

    Args:
        config: Settings; `evaluation` says which tasks and how to sample.
        registry: Installed plugins.
        checkpoint: Its policies play; None plays the weights that training would start from.
        scripted: Also let the environment's random player and its expert play.
        say: Tells the user what happens.
    """
    problem = build_problem(config, registry)
    team = build_team(config, registry, problem)
    tasks = held_out(problem.suite, config.evaluation.final_split, config.evaluation.final_num_tasks)
    sources: Mapping[str, str | Path]
    if checkpoint is None:
        sources = dict.fromkeys(team.policy_names, starting_weights(config, problem, team, say))
    else:
        sources = policy_folders(checkpoint, team.policy_names)
    with contextlib.closing(LocalEngine(config, sources, train=False)) as engine:
        rollouts = rollouts_of(config, problem, team, engine, team.evaluate)
        episodes = play_held_out(rollouts, tasks, derive_seed(config.env.seed, "final"))
    what = str(checkpoint) if checkpoint is not None else config.model.name or ""
    rows = {"team": summarise(episodes).to_plain()}
    if scripted:
        rows |= {
            name: summarise(play_scripted(problem.environment, tasks, player, config.env.seed)).to_plain()
            for name, player in scripted_players(problem.environment).items()
        }
    return Measured(problem.spec.name, what, rows, label_spread(tasks), episodes)
