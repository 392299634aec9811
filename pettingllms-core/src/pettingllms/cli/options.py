"""Options that the commands with a configuration share, and the configuration that they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from pettingllms.cli.context import current_registry
from pettingllms.errors import ConfigError

if TYPE_CHECKING:
    from pettingllms.config.schema import Config

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--env", metavar="NAME", help="Environment, such as 'sokoban'; `envs list` shows them."),
    click.option("--preset", metavar="NAME", help="Ready-made settings; `presets list` shows them."),
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Settings: a TOML file, or a Python file with the training guide's dicts.",
    ),
    click.option(
        "--set",
        "overrides",
        metavar="SECTION.KEY=VALUE",
        multiple=True,
        help="One setting, such as training.batch_size=32; may be repeated.",
    ),
    click.option(
        "--model",
        metavar="NAME",
        help="Hugging Face name, folder, or 'tiny'. Unset: 'tiny' without a GPU, Qwen/Qwen3-1.7B with one.",
    ),
    click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed of tasks, sampling, weights."),
    click.option("--output", metavar="FOLDER", help="Folder for the run's own folder.  [default: logs]"),
)


def config_options(command: F) -> F:
    """Add the options of a configuration to a command.

    They arrive as `env`, `preset`, `config`, `overrides`, `model`, `seed` and `output`, which
    `config_from_flags` takes as they are.
    """
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def config_from_flags(
    *,
    env: str | None = None,
    preset: str | None = None,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    model: str | None = None,
    seed: int | None = None,
    output: str | None = None,
) -> Config:
    """Return the configuration that the options of `config_options` ask for.

    `env.name` is the full name of an environment that is installed. ``--env`` without a preset or a file
    starts from the environment's own preset, if it has one.

    Raises:
        ConfigError: A setting is wrong, or nothing names an environment.
        UnknownNameError: No plugin provides the preset or the environment.
        PluginError: The plugin that would provide it failed or is disabled.
    """
    from pettingllms.config.load import load_config

    registry = current_registry()
    if env is not None and preset is None and config is None:
        preset = registry.environment(env).preset or None
    chosen = registry.preset(preset) if preset is not None else None
    loaded = load_config(
        preset_text=chosen.text if chosen is not None else None,
        preset_name=chosen.name if chosen is not None else None,
        file=config,
        overrides=overrides,
        flags={"env.name": env, "model.name": model, "env.seed": seed, "tracking.output": output},
        find_preset=lambda name: registry.preset(name).text,
    )
    if loaded.env.name is None:
        raise ConfigError(
            "no environment is chosen; give --env NAME or --preset NAME, or set env.name in the config file "
            "(see: pettingllms envs list)"
        )
    spec = registry.environment(loaded.env.name)
    return attrs.evolve(loaded, env=attrs.evolve(loaded.env, name=spec.name))
