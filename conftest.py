"""Settings of all test runs in this repository; no test imports from here."""

from __future__ import annotations

import functools

import pytest


@functools.cache
def _cuda() -> bool:
    try:
        import torch
    except ModuleNotFoundError:
        return False
    return bool(torch.cuda.is_available())


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") is not None and not _cuda():
        pytest.skip("needs a CUDA device")
