"""Implements a hook that does not exist."""

from pettingllms.api import EnvironmentSpec, hookimpl


@hookimpl
def pettingllms_register_environment():
    return [
        EnvironmentSpec(
            name="misspelt/thing",
            factory="acme_misspelt:Thing",
            suite="acme_misspelt:Thing",
            state="acme_misspelt:Thing",
            roles={"worker": "good/worker"},
            reward="good/score",
            summary="",
        ),
    ]
