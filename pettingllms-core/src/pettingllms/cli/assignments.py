"""The ``--set KEY=VALUE`` option of the ``envs`` commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from pettingllms.errors import ConfigError

_Table = Mapping[str, Any]

set_option: Callable[[Any], Any] = click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Set an option of the environment, such as size=8; may be repeated. "
    "env.reward_options.KEY=VALUE sets one of its reward.",
)


def parse_assignments(assignments: Sequence[str]) -> tuple[_Table, _Table]:
    """Return (environment options, reward options) from ``--set`` texts.

    A value is read as TOML; a bare word is a text. A key may be written in full, as in a config file.

    Raises:
        ConfigError: A text is no assignment, or its key lies outside the two tables.
    """
    from pettingllms.config.layers import override_layer

    full = [text if text.startswith("env.") else f"env.options.{text}" for text in assignments]
    for text in full:
        if not text.startswith(("env.options.", "env.reward_options.")):
            raise ConfigError(f"--set {text}: only env.options and env.reward_options can be set here")
    env = override_layer(full).settings.get("env", {})
    return env.get("options", {}), env.get("reward_options", {})
