"""The names of the four task suites that belong to the project.

Known here only so that asking for one that is not installed gets the line that installs it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_ENVIRONMENTS: Mapping[str, tuple[str, ...]] = {
    "games": ("sokoban", "sudoku"),
    "planning": ("plan_path", "blocksworld"),
    "code": ("code",),
    "math": ("math",),
}
_PRESETS: Mapping[str, tuple[str, ...]] = {
    "games": ("sokoban_two_policy", "sokodu_single", "sudoku_single"),
    "planning": ("plan_path_single", "plan_path_two_policy"),
    "code": ("code_single_policy", "code_two_policy"),
    "math": ("math",),
}


def distribution_of(suite: str) -> str:
    """Return the distribution that brings `suite`."""
    return f"pettingllms-envs-{suite}"


def suite_of_namespace(name: str) -> str | None:
    """Return the suite that the full name `name` lies in, or None."""
    namespace, slash, _ = name.partition("/")
    return namespace if slash and namespace in _ENVIRONMENTS else None


def suite_of(environment: str) -> str | None:
    """Return the suite that has `environment` (full, bare, or the suite itself), or None."""
    if "/" in environment:
        return suite_of_namespace(environment)
    if environment in _ENVIRONMENTS:
        return environment
    return next((suite for suite, names in _ENVIRONMENTS.items() if environment in names), None)


def suite_of_preset(preset: str) -> str | None:
    """Return the suite that ships `preset`, or None."""
    return next((suite for suite, names in _PRESETS.items() if preset in names), None)


def names_outside(installed: Collection[str]) -> dict[str, str]:
    """Return the bare environment names of the suites that are not in `installed`, each with its suite."""
    return {name: suite for suite, names in _ENVIRONMENTS.items() if suite not in installed for name in names}
