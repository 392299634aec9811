"""What a subcommand knows from the options in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pettingllms.plugins.registry import Registry


def disabled_plugins() -> tuple[str, ...]:
    """Return the names given with ``--disable-plugin``; none outside a command."""
    context = click.get_current_context(silent=True)
    options = context.find_object(dict) if context is not None else None
    return tuple(options.get("disabled", ())) if options else ()


def require_training() -> None:
    """Say how to install what training needs, before anything is imported that would fail.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """
    from importlib.util import find_spec

    from pettingllms.errors import MissingExtraError

    for library in ("torch", "transformers"):
        if find_spec(library) is None:
            raise MissingExtraError(library, "train")


def current_registry() -> Registry:
    """Return the registry for the running command, without the plugins that its user disabled."""
    from pettingllms.plugins.registry import get_registry

    return get_registry(disabled_plugins())
