"""Names a class in a way that cannot be resolved."""

from pettingllms.api import RoleSpec, hookimpl


@hookimpl
def pettingllms_register_agent_roles():
    yield RoleSpec(name="badspec/role", role="acme_badspec.ROLE")
