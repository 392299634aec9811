"""What the core itself brings, through the same hooks as everybody else's plugin."""

from __future__ import annotations

from collections.abc import Iterable

from pettingllms.plugins.markers import hookimpl
from pettingllms.plugins.specs import PolicyMappingSpec

NAMESPACE = "core"
"""The core's own namespace; no other plugin may take it and nothing can disable it."""


@hookimpl
def pettingllms_register_policy_mappings() -> Iterable[PolicyMappingSpec]:
    """One policy for the whole team, or one for every role."""
    return (
        PolicyMappingSpec(
            name="core/shared",
            mapping="pettingllms.team.mapping:shared",
            summary="one policy plays every role",
        ),
        PolicyMappingSpec(
            name="core/per_role",
            mapping="pettingllms.team.mapping:per_role",
            summary="every role has a policy of its own",
        ),
    )
