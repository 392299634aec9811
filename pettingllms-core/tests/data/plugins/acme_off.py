"""Works, but tests disable it; it tells when it is imported nevertheless."""

from pettingllms.api import EnvironmentSpec, hookimpl


@hookimpl
def pettingllms_register_environments():
    return [
        EnvironmentSpec(
            name="off/switch",
            factory="acme_off:Thing",
            suite="acme_off:Thing",
            state="acme_off:Thing",
            roles={"worker": "good/worker"},
            reward="good/score",
            summary="",
        ),
    ]
