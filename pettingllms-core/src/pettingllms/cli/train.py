"""``pettingllms train``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from pettingllms.cli.context import current_registry, require_training
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

    asked = "--resume"
    if resume is None and os.environ.get("CHECKPOINT_PATH"):
        asked, resume = "CHECKPOINT_PATH", Path(os.environ["CHECKPOINT_PATH"])
    if resume is not None:
        given = {"--set" if name == "overrides" else f"--{name}": value for name, value in flags.items()}
        named = [name for name, value in given.items() if value not in (None, ())]
        if named:
            choice = f"leave out {', '.join(named)}" + (f" or unset {asked}" if asked[0] != "-" else "")
            raise ConfigError(f"{asked} goes on with the run's own settings; {choice}")
        require_training()
        from pettingllms.training.session import resume_run

        finished = resume_run(resume, current_registry())
    else:
        config = config_from_flags(**flags)  # a typo is answered before torch is imported
        require_training()
        from pettingllms.training.session import start_run

        finished = start_run(config, current_registry())
    if finished.stopped_by:
        raise SystemExit(INTERRUPTED)
