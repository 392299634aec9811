"""One of two that claim a name."""

from pettingllms.api import EnvironmentSpec, hookimpl


@hookimpl
def pettingllms_register_environments():
    return [
        EnvironmentSpec(
            name="rival/thing",
            factory="acme_rival_one:Thing",
            suite="acme_rival_one:Thing",
            state="acme_rival_one:Thing",
            roles={"worker": "good/worker"},
            reward="good/score",
            summary="",
        ),
    ]
