"""Loading objects that specs name as ``"package.module:Name"``."""

from __future__ import annotations

import importlib
from typing import Any

from pettingllms.errors import PluginError, did_you_mean


def one_line(text: str) -> str:
    """Return `text` with every run of white space, line breaks included, as one space."""
    return " ".join(text.split())


def describe_failure(error: BaseException, module: str) -> str:
    """Say in one line why importing `module`, or calling what it holds, failed with `error`."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        if module == error.name or module.startswith(f"{error.name}."):
            return f"there is no module {error.name!r}"
        return f"{module} needs {error.name!r}, which is not installed"
    text = one_line(str(error))
    if isinstance(error, PluginError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def load_object(reference: str) -> Any:
    """Import and return the object that `reference` (``"package.module:Name"``) names.

    Raises:
        PluginError: The reference is malformed, its module cannot be imported (a missing
            third-party package is named), or the module has no such name.
    """
    module_name, colon, name = reference.partition(":")
    if not (colon and name.isidentifier() and all(part.isidentifier() for part in module_name.split("."))):
        raise PluginError(f"{reference!r} must look like 'package.module:Name'")
    try:
        module = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may even call sys.exit() while it is imported
        raise PluginError(f"cannot load {reference!r}: {describe_failure(error, module_name)}") from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        hint = did_you_mean(name, vars(module))
        raise PluginError(f"cannot load {reference!r}: {module_name} has no {name!r}{hint}") from error
