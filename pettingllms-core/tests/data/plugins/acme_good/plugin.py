"""A plugin without fault: one of everything, and observers that take notes in `NOTES`."""

from pettingllms.api import EnvironmentSpec, PolicyMappingSpec, RewardSpec, RoleSpec, hookimpl

NOTES: list[object] = []


@hookimpl
def pettingllms_register_environments():
    return [
        EnvironmentSpec(
            name="good/thing",
            factory="acme_good.env:Thing",
            suite="acme_good.env:Thing",
            state="acme_good.env:Thing",
            roles={"worker": "good/worker"},
            reward="good/score",
            summary="a thing to do",
        ),
        EnvironmentSpec(
            name="good/other",
            factory="acme_good.env:Thing",
            suite="acme_good.env:Thing",
            state="acme_good.env:Thing",
            roles={"worker": "good/worker"},
            reward="good/score",
            summary="another thing",
        ),
    ]


@hookimpl
def pettingllms_register_reward_functions():
    yield RewardSpec(name="good/score", factory="acme_good.env:Score", options="acme_good.env:Options")


@hookimpl
def pettingllms_register_agent_roles():
    yield RoleSpec(name="good/worker", role="acme_good.env:WORKER")


@hookimpl
def pettingllms_register_policy_mappings():
    yield PolicyMappingSpec(name="good/shared", mapping="acme_good.env:all_one")


@hookimpl
def pettingllms_run_started(run):
    NOTES.append(("started", run.environment))


@hookimpl
def pettingllms_run_finished(error):
    NOTES.append(("finished", error))
