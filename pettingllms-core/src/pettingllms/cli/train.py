"""``pettingllms train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from pettingllms.cli.context import current_registry
from pettingllms.cli.options import config_from_flags, config_options

INTERRUPTED = 130


@click.command()
@config_options
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with a run: its folder, or one of its checkpoints. CHECKPOINT_PATH does the same.",
)
def train(resume: Path | None, **flags: Any) -> None:
    """Train a team with reinforcement learning.

    Without --model and without a GPU a tiny model is made on the spot, so that
    `pettingllms train --env sokoban` runs anywhere.
    """
    from pettingllms.errors import ConfigError
    from pettingllms.training.session import resume_run, start_run

    named = [f"--{name}" for name, value in flags.items() if value not in (None, ())]
    if resume is None and not named and os.environ.get("CHECKPOINT_PATH"):
        resume = Path(os.environ["CHECKPOINT_PATH"])
    if resume is not None:
        if named:
            raise ConfigError(f"--resume goes on with the run's own settings; leave out {', '.join(named)}")
        finished = resume_run(resume, current_registry())
    else:
        finished = start_run(config_from_flags(**flags), current_registry())
    if finished.stopped_by:
        raise SystemExit(INTERRUPTED)
