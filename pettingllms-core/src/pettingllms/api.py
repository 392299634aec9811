"""All that a plugin author imports."""

from pettingllms.env.base import Environment, EnvironmentOptions, Playable
from pettingllms.env.codec import from_json, to_json
from pettingllms.env.suite import SPLITS, Split, TaskSuite
from pettingllms.env.types import Fact, Message, Observation, Outcome, Task, Transition
from pettingllms.errors import ConfigError, EnvironmentFault, PettingLLMsError, PluginError
from pettingllms.plugins.events import IterationReport, RolloutSummary, RunInfo
from pettingllms.plugins.markers import hookimpl
from pettingllms.plugins.specs import EnvironmentSpec, PolicyMappingSpec, RewardSpec, RoleSpec
from pettingllms.team.mapping import PolicyMapping
from pettingllms.team.reward import Reward, RewardFunction
from pettingllms.team.roles import AgentRole, SamplingOverrides

__all__ = [
    "SPLITS",
    "AgentRole",
    "ConfigError",
    "Environment",
    "EnvironmentFault",
    "EnvironmentOptions",
    "EnvironmentSpec",
    "Fact",
    "IterationReport",
    "Message",
    "Observation",
    "Outcome",
    "PettingLLMsError",
    "Playable",
    "PluginError",
    "PolicyMapping",
    "PolicyMappingSpec",
    "Reward",
    "RewardFunction",
    "RewardSpec",
    "RoleSpec",
    "RolloutSummary",
    "RunInfo",
    "SamplingOverrides",
    "Split",
    "Task",
    "TaskSuite",
    "Transition",
    "from_json",
    "hookimpl",
    "to_json",
]
