"""What observers are told: frozen values that are copies, so nothing done to them reaches the run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs


def _copied(value: Mapping[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(dict(value))


@attrs.frozen(kw_only=True)
class RunInfo:
    """The run that starts, or has ended.

    Attributes:
        run_dir: The run's own folder, as an absolute path.
        config: The resolved configuration as plain data (tables are dicts, as in ``config.toml``).
        environment: Full name of the environment.
        policies: Role to the name of the policy that plays it.
        plugin_versions: Plugin name to the version of its distribution.
    """

    run_dir: Path = attrs.field(converter=Path)
    config: Mapping[str, Any] = attrs.field(converter=_copied)
    environment: str
    policies: Mapping[str, str] = attrs.field(converter=_copied)
    plugin_versions: Mapping[str, str] = attrs.field(converter=_copied)


@attrs.frozen(kw_only=True)
class RolloutSummary:
    """The episodes of one iteration are collected; no policy was updated yet.

    Attributes:
        iteration: Number of the iteration, from 1.
        metrics: Metric name to value, as in ``metrics.jsonl``.
    """

    iteration: int
    metrics: Mapping[str, float] = attrs.field(converter=_copied)


@attrs.frozen(kw_only=True)
class IterationReport:
    """An iteration is done: rollouts, updates, and validation when one was due.

    Attributes:
        iteration: Number of the iteration, from 1.
        metrics: Metric name to value, as in ``metrics.jsonl``.
    """

    iteration: int
    metrics: Mapping[str, float] = attrs.field(converter=_copied)
