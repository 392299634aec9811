"""A plugin whose only environment has the bare name of another, and whose preset claims another's."""

from pettingllms.api import EnvironmentSpec, hookimpl


@hookimpl
def pettingllms_register_environments():
    return [
        EnvironmentSpec(
            name="twin/thing",
            factory="acme_twin.env:Thing",
            suite="acme_twin.env:Thing",
            state="acme_twin.env:Thing",
            roles={"worker": "good/worker"},
            reward="good/score",
            summary="the same bare name as good/thing",
        ),
    ]
