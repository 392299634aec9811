"""PettingLLMs: train teams of LLM agents with reinforcement learning."""

from __future__ import annotations


def __getattr__(name: str) -> str:
    # Reading the version scans installed metadata; nobody pays for it at import.
    if name == "__version__":
        from importlib.metadata import version

        return version("pettingllms-core")
    raise AttributeError(name)
