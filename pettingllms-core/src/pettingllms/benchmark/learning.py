"""Does training work here, and what does it owe to the tree and to the team? Arms, seeds, one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import attrs

from pettingllms.config.load import load_config
from pettingllms.config.schema import Config
from pettingllms.errors import ConfigError
from pettingllms.plugins.registry import Registry
from pettingllms.training.evaluation import wilson
from pettingllms.training.session import start_run
from pettingllms.training.team import build_problem

ARMS: Mapping[str, tuple[str, ...]] = {
    "at_grpo": (),
    "grpo": ("training.algorithm=grpo",),
    "single": ("env.options.players=single",),
}
"""Settings of every arm on top of the environment's preset."""

MORE_ITERATIONS = 4
"""Arms that are held to a number of tokens may take this many times the iterations to sample them."""

T = TypeVar("T")


@attrs.frozen
class LearningRow:
    """One arm with one seed."""

    arm: str
    seed: int
    sampled_tokens: int
    iterations: int
    seconds: float
    results: Mapping[str, Mapping[str, Any]]
    folder: str


def parse_list(text: str, kind: Callable[[str], T], option: str) -> list[T]:
    """Return the parts of a list with commas.

    Raises:
        ConfigError: A part is not of its kind, or there is none.
    """
    try:
        parts = [kind(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}: {error}") from error
    if not parts:
        raise ConfigError(f"{option} {text!r} names nothing")
    return parts


def compare(
    registry: Registry,
    env: str,
    *,
    seeds: Sequence[int],
    arms: Sequence[str],
    overrides: Sequence[str],
    output: Path,
    say: Callable[[str], None],
) -> list[LearningRow]:
    """Train every arm with every seed; all arms sample as many tokens as at_grpo did with that seed.

    Raises:
        ConfigError: An arm is unknown, or its settings cannot be carried out; nothing was trained.
        KeyboardInterrupt: A run was stopped.
    """
    for arm in arms:
        if arm not in ARMS:
            raise ConfigError(f"--arms: there is no arm {arm!r}; the arms are {', '.join(ARMS)}")
        config = _config(registry, env, arm, 0, overrides, output, None)
        build_problem(config, registry)  # a wrong setting of the last arm ends here, not after hours
        if config.evaluation.final_num_tasks == 0:
            raise ConfigError("evaluation.final_num_tasks = 0 leaves nothing to compare")
    arms = sorted(dict.fromkeys(arms), key=lambda arm: arm != "at_grpo")  # the others need its tokens
    rows: list[LearningRow] = []
    for seed in seeds:
        budget: int | None = None
        for arm in arms:
            config = _config(registry, env, arm, seed, overrides, output, budget)
            say(f"-- {arm}, seed {seed}")
            row = _train(config, registry, arm, seed)
            if arm == "at_grpo":
                budget = row.sampled_tokens
            rows.append(row)
            path = Path(row.folder) / "benchmark.json"
            path.write_text(json.dumps(attrs.asdict(row), indent=2) + "\n", encoding="utf-8")
    for line in summary(rows):
        say(line)
    return rows


def _config(
    registry: Registry,
    env: str,
    arm: str,
    seed: int,
    overrides: Sequence[str],
    output: Path,
    budget: int | None,
) -> Config:
    spec = registry.environment(env)
    preset = registry.preset(spec.preset) if spec.preset else None

    def load(extra: Sequence[str]) -> Config:
        return load_config(
            preset_text=None if preset is None else preset.text,
            preset_name=None if preset is None else preset.name,
            overrides=(*ARMS[arm], *overrides, *extra),
            flags={"env.name": spec.name, "env.seed": seed, "tracking.output": str(output / arm)},
        )

    config = load(())
    if budget is None:
        return config
    iterations = config.training.num_iterations * MORE_ITERATIONS
    return load((f"training.max_sampled_tokens={budget}", f"training.num_iterations={iterations}"))


def _train(config: Config, registry: Registry, arm: str, seed: int) -> LearningRow:
    finished = start_run(config, registry)
    if finished.stopped_by:
        raise KeyboardInterrupt
    metrics = [
        json.loads(line) for line in (finished.folder / "metrics.jsonl").read_text("utf-8").splitlines()
    ]
    return LearningRow(
        arm=arm,
        seed=seed,
        sampled_tokens=finished.progress.sampled_tokens,
        iterations=finished.progress.iteration,
        seconds=sum(line["time/rollout"] + line["time/update"] for line in metrics),
        results=finished.rows,
        folder=str(finished.folder),
    )


def summary(rows: Sequence[LearningRow]) -> list[str]:
    """Return a Markdown table: each row of every run, then pooled over the seeds."""
    lines = [
        "| arm | seed | before | after | 95% interval | sampled tokens | iterations | training s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        before, after = _ends(row)
        low, high = after["interval_95"]
        lines.append(
            f"| {row.arm} | {row.seed} | {before['success_rate']:.3f} | {after['success_rate']:.3f} | "
            f"{low:.3f} to {high:.3f} | {row.sampled_tokens} | {row.iterations} | {row.seconds:.0f} |"
        )
    for arm in dict.fromkeys(row.arm for row in rows):
        ends = [_ends(row) for row in rows if row.arm == arm]
        successes, played = (sum(after[key] for _, after in ends) for key in ("successes", "tasks"))
        low, high = wilson(successes, played)
        lines.append(
            f"| {arm} | all | {fmean(before['success_rate'] for before, _ in ends):.3f} | "
            f"{successes / played:.3f} | {low:.3f} to {high:.3f} | | | |"
        )
    return lines


def _ends(row: LearningRow) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the results before and after training."""
    played = [value for name, value in row.results.items() if name not in ("random", "expert")]
    return played[0], played[-1]
