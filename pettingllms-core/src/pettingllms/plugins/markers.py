"""The markers that bind hook implementations to the project."""

from __future__ import annotations

import pluggy

PROJECT = "pettingllms"
"""Project name of all hooks, and the entry-point group that plugins register in."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
