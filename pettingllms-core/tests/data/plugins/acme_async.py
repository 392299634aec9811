"""Observes with an async function, whose body would never run."""

from pettingllms.api import hookimpl


@hookimpl
async def pettingllms_run_started(run):
    pass
