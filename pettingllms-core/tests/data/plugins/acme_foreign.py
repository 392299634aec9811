"""Registers in the namespace of another plugin."""

from pettingllms.api import EnvironmentSpec, hookimpl


@hookimpl
def pettingllms_register_environments():
    return [
        EnvironmentSpec(
            name="foreign/fine",
            factory="acme_foreign:Thing",
            suite="acme_foreign:Thing",
            state="acme_foreign:Thing",
            roles={"worker": "good/worker"},
            reward="good/score",
            summary="",
        ),
        EnvironmentSpec(
            name="good/hijack",
            factory="acme_foreign:Thing",
            suite="acme_foreign:Thing",
            state="acme_foreign:Thing",
            roles={"worker": "good/worker"},
            reward="good/score",
            summary="",
        ),
    ]
