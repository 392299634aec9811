"""Every error that PettingLLMs raises on purpose.

A user's mistake reaches the terminal as one line that names the culprit and the
next step, with exit code 2. What model text or a plugin does wrong
(`EnvironmentFault`, `GenerationFault`) is recorded on the episode as data.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PettingLLMsError(Exception):
    """Base of all deliberate errors; its text is one line meant for a person."""


class ConfigError(PettingLLMsError):
    """A setting is missing, unknown, of the wrong type or out of range."""


class PluginError(PettingLLMsError):
    """A plugin, or an object that it registered, cannot be used."""


class UnknownNameError(PettingLLMsError):
    """A name that no installed plugin provides."""


class MissingExtraError(PettingLLMsError):
    """An optional dependency is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; run: pip install 'pettingllms-core[{extra}]'")


class EnvironmentFault(PettingLLMsError):
    """An environment or reward function raised, timed out or broke its contract."""


class GenerationFault(PettingLLMsError):
    """A generator failed to answer a request."""


class CheckpointError(PettingLLMsError):
    """A checkpoint is missing, damaged or belongs to another run."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"``, or an empty string when nothing is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""
