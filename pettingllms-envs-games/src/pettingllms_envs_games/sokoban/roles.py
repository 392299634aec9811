"""The roles of Sokoban."""

from __future__ import annotations

from pettingllms.api import AgentRole

_RULES = (
    "Sokoban: # wall, _ floor, . goal, $ box, * box on goal, @ player, + player on goal. "
    "Push every box onto a goal; never pull."
)
_ANSWER = "Answer only with U D L R, like: U R R D"

PLANNER = AgentRole(name="planner", system_prompt=f"{_RULES} Propose the next moves. {_ANSWER}")
"""Proposes moves."""

EXECUTOR = AgentRole(
    name="executor", system_prompt=f"{_RULES} Make the proposed moves, or better ones. {_ANSWER}"
)
"""Sees the proposal and its result, and moves."""

PLAYER = AgentRole(name="player", system_prompt=f"{_RULES} Make the next moves. {_ANSWER}")
"""Plays alone."""
