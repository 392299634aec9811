"""Policy mappings: which policy plays which role."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class PolicyMapping(Protocol):
    """Sends every role to the name of a policy (a set of weights)."""

    def __call__(self, roles: tuple[str, ...]) -> dict[str, str]:
        """Return ``{role: policy}`` for all of `roles`."""
        ...


def shared(roles: tuple[str, ...]) -> dict[str, str]:
    """One policy plays every role."""
    return dict.fromkeys(roles, "shared")


def per_role(roles: tuple[str, ...]) -> dict[str, str]:
    """Every role has a policy of its own, named after it."""
    return {role: role for role in roles}
