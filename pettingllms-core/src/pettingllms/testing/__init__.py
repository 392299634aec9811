"""For the tests of environment authors: the conformance kit and a toy environment (torch-free).

Names are imported when used: the pytest plugin beside them is loaded by every pytest run.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pettingllms.testing.checks import CheckResult, ConformanceReport
    from pettingllms.testing.checks_play import Parts
    from pettingllms.testing.conformance import CHECKS, check_environment, parts_of

__all__ = ["CHECKS", "CheckResult", "ConformanceReport", "Parts", "check_environment", "parts_of"]

_HOMES = {"CheckResult": "checks", "ConformanceReport": "checks", "Parts": "checks_play"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'conformance')}"), name)
