"""The roles of Sudoku."""

from __future__ import annotations

from pettingllms.api import AgentRole

_RULES = "Sudoku: each row, column and box holds every digit once. _ is empty; given digits stay."
_ANSWER = "Answer with row column digit, like: 1 3 4; 2 1 2. After reasoning, start the last line with ####."

PLANNER = AgentRole(name="planner", system_prompt=f"{_RULES} Propose the next entries. {_ANSWER}")
EXECUTOR = AgentRole(
    name="executor", system_prompt=f"{_RULES} Make the proposed entries, or better ones. {_ANSWER}"
)
PLAYER = AgentRole(name="player", system_prompt=f"{_RULES} Make the next entries. {_ANSWER}")
