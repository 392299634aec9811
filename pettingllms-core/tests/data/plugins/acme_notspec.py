"""Returns something else than specs."""

from pettingllms.api import hookimpl


@hookimpl
def pettingllms_register_agent_roles():
    yield "notspec/role"
