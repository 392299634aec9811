"""Telling plugins how a run goes, without letting them hurt it."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pettingllms.errors import ConfigError
from pettingllms.plugins.events import IterationReport, RolloutSummary, RunInfo
from pettingllms.plugins.lazy import one_line
from pettingllms.plugins.registry import Registry

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
"""After so many failures in one run a plugin's observers are not called any more."""


class Observers:
    """Calls the observers of all plugins of `registry`, one by one.

    What an observer raises is logged and counted. A plugin that failed `MAX_FAILURES` times is
    muted. Make one for every run, on the driver.

    Attributes:
        errors: Plugin name to how often its observers have failed in this run.
    """

    def __init__(self, registry: Registry) -> None:
        self._observers = registry.observers
        self.errors: Counter[str] = Counter()

    def configure(self, config: Mapping[str, Any]) -> None:
        """Show every plugin a copy of the resolved configuration, as plain data.

        Raises:
            ConfigError: A plugin refuses the configuration; its name is in front.
        """
        self._call("pettingllms_configure", config=config)

    def run_started(self, run: RunInfo) -> None:
        """Tell that `run` starts."""
        self._call("pettingllms_run_started", run=run)

    def rollouts_finished(self, summary: RolloutSummary) -> None:
        """Tell that the episodes of an iteration are collected."""
        self._call("pettingllms_rollouts_finished", summary=summary)

    def iteration_finished(self, report: IterationReport) -> None:
        """Tell that an iteration is done."""
        self._call("pettingllms_iteration_finished", report=report)

    def run_finished(self, run: RunInfo, error: BaseException | None = None) -> None:
        """Tell that `run` has ended; `error` is what ended it early."""
        self._call("pettingllms_run_finished", run=run, error=error)

    def _call(self, hook: str, **values: object) -> None:
        for implementation in self._observers[hook]:
            plugin = implementation.plugin
            if self.errors[plugin] >= MAX_FAILURES:
                continue
            # Each gets its own copy: what one plugin does to it reaches neither the run nor the next.
            own = {key: value if key == "error" else copy.deepcopy(value) for key, value in values.items()}
            try:
                implementation(**own)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # an observer's sys.exit() must not end the run either
                if isinstance(error, ConfigError) and hook == "pettingllms_configure":
                    raise ConfigError(f"plugin {plugin!r}: {error}") from error
                self._count(plugin, hook, error)

    def _count(self, plugin: str, hook: str, error: BaseException) -> None:
        self.errors[plugin] += 1
        muted = "; it is not called any more in this run" if self.errors[plugin] >= MAX_FAILURES else ""
        logger.warning(
            "plugin %r failed in %s (%s: %s), failure %d%s",
            plugin,
            hook,
            type(error).__name__,
            one_line(str(error)),
            self.errors[plugin],
            muted,
            exc_info=error,
        )
