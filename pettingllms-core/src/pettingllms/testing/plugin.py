"""pytest fixtures for the tests of plugins; installed with the core (entry point ``pytest11``).

``check_environment(name, options=...)`` runs the conformance kit; the test fails with a line for each failed
check.
``isolated_registry(namespace=module)`` gives a registry of the given plugins alone, whatever is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pettingllms.plugins.registry import Registry
    from pettingllms.testing.checks import ConformanceReport


@pytest.fixture
def check_environment() -> Callable[..., ConformanceReport]:
    """Return `pettingllms.testing.check_environment`, with failures raised as `AssertionError`.

    Example::

        def test_conforms(check_environment):
            check_environment("mine/task", options={"size": 4})
    """

    def check(environment: Any, **settings: Any) -> ConformanceReport:
        # Imported when used: this module is loaded by every pytest run of whoever has the core installed.
        from pettingllms.testing.conformance import check_environment as run

        report = run(environment, **settings)
        report.require()
        return report

    return check


@pytest.fixture
def isolated_registry() -> Callable[..., Registry]:
    """Return a function from plugin modules by namespace to a registry of those alone.

    Example::

        def test_registers(isolated_registry):
            assert "mine/task" in isolated_registry(mine=my_package.plugin).environments
    """

    def make(**plugins: ModuleType | object) -> Registry:
        from pettingllms.plugins.registry import registry_of_modules

        return registry_of_modules(plugins)

    return make


@pytest.fixture
def toy_registry(isolated_registry: Callable[..., Registry]) -> Registry:
    """Return a registry that holds ``toy/clue`` of `pettingllms.testing.toy` and the built-ins."""
    from pettingllms.testing import toy

    return isolated_registry(toy=toy)
