"""Asks a hook for an argument that it does not have."""

from pettingllms.api import hookimpl


@hookimpl
def pettingllms_run_started(run, trainer):
    pass
