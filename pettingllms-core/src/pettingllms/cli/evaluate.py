"""``pettingllms evaluate``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs
import click

from pettingllms.cli.context import current_registry, require_training
from pettingllms.cli.options import config_from_flags, config_options
from pettingllms.env.suite import SPLITS

if TYPE_CHECKING:
    from pettingllms.env.suite import Split
    from pettingllms.training.measure import Measured


@click.command()
@click.argument("run", required=False, type=click.Path(path_type=Path))
@config_options
@click.option("--split", type=click.Choice(SPLITS), help="Split to play.  [default: evaluation.final_split]")
@click.option(
    "--num-tasks",
    type=click.IntRange(min=1),
    metavar="N",
    help="Tasks to play.  [default: evaluation.final_num_tasks]",
)
@click.option("--scripted", is_flag=True, help="Also let the environment's random player and expert play.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    run: Path | None, split: str | None, num_tasks: int | None, scripted: bool, as_json: bool, **flags: Any
) -> None:
    """Measure held-out success of RUN (a run's folder or a checkpoint), or of a model as it is.

    Success comes with its 95% Wilson interval. With --output FOLDER the result and all episodes are
    written there.
    """
    from pettingllms.errors import ConfigError
    from pettingllms.tracking.table import table

    output = flags.pop("output")
    if output is not None:
        _refuse_unwritable(Path(output))
    checkpoint = None
    if run is not None:
        named = [f"--{name}" for name in ("env", "preset", "config", "model") if flags[name] is not None]
        if named:
            raise ConfigError(f"a run brings its own settings; leave out {', '.join(named)} (use --set)")
        require_training()
        from pettingllms.training.measure import config_of_run

        seed = () if flags["seed"] is None else (f"env.seed={flags['seed']}",)
        config, checkpoint = config_of_run(run, (*flags["overrides"], *seed))
    else:
        config = config_from_flags(**flags)  # a typo is answered before torch is imported
        require_training()
    from pettingllms.training.measure import evaluate

    settings = config.evaluation
    settings = attrs.evolve(
        settings,
        final_split=cast("Split", split) if split else settings.final_split,
        final_num_tasks=num_tasks or settings.final_num_tasks or 200,
    )
    config = attrs.evolve(config, evaluation=settings)
    measured = evaluate(
        config,
        current_registry(),
        checkpoint=checkpoint,
        scripted=scripted,
        say=lambda text: click.echo(text, err=True),
    )
    result = {
        "environment": measured.environment,
        "evaluated": measured.what,
        "split": settings.final_split,
        "seed": config.env.seed,
        "results": measured.rows,
        "labels": measured.spread,
    }
    if output is not None:
        _write(Path(output), result, measured)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo(f"{measured.environment}, {measured.what}")
        for line in table(measured.rows, settings.final_split, measured.spread):
            click.echo(line)


def _refuse_unwritable(folder: Path) -> None:
    """Say before the evaluation, not after it, that its result cannot be kept."""
    from pettingllms.errors import ConfigError

    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ConfigError(f"--output {str(folder)!r} cannot be written: {str(there)!r} is no folder")
    if not os.access(there, os.W_OK):
        raise ConfigError(f"--output {str(folder)!r} cannot be written: no permission for {str(there)!r}")


def _write(folder: Path, result: dict[str, Any], measured: Measured) -> None:
    from pettingllms.errors import ConfigError
    from pettingllms.rollout.records import records

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        lines = (json.dumps(record, sort_keys=True) + "\n" for record in records(measured.episodes, 0, None))
        (folder / "episodes.jsonl").write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output {str(folder)!r} cannot be written: {error.strerror}") from error
