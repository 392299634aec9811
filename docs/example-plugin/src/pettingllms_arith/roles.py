"""The roles of `arith/sum`."""

from __future__ import annotations

from pettingllms.api import AgentRole, SamplingOverrides

SHORT = SamplingOverrides(max_new_tokens=8)

ADDER = AgentRole(
    name="adder",
    system_prompt="Long addition. Write the last digit of the sum of the column. Answer with one digit.",
    train=SHORT,
)
CARRIER = AgentRole(
    name="carrier",
    system_prompt="Long addition. Say what the column carries to the next one. Answer with 0 or 1.",
    train=SHORT,
)
