"""Registers one name twice."""

from pettingllms.api import EnvironmentSpec, hookimpl


@hookimpl
def pettingllms_register_environments():
    return [
        EnvironmentSpec(
            name="twice/double",
            factory="acme_twice:Thing",
            suite="acme_twice:Thing",
            state="acme_twice:Thing",
            roles={"worker": "good/worker"},
            reward="good/score",
            summary="first",
        ),
        EnvironmentSpec(
            name="twice/double",
            factory="acme_twice:Thing",
            suite="acme_twice:Thing",
            state="acme_twice:Thing",
            roles={"worker": "good/worker"},
            reward="good/score",
            summary="second",
        ),
    ]
