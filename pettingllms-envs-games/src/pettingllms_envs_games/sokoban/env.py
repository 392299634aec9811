"""The Sokoban environment."""

from __future__ import annotations

import math
import random

import attrs

from pettingllms.api import Fact, Observation, Outcome, Task, Transition
from pettingllms_envs_games.sokoban.levels import parse_level
from pettingllms_envs_games.sokoban.options import SokobanOptions
from pettingllms_envs_games.sokoban.parsing import parse_moves
from pettingllms_envs_games.sokoban.prompts import describe, spell
from pettingllms_envs_games.sokoban.rules import MOVES, Cell, Effect, Rows, boxes_on_goals, draw, play
from pettingllms_envs_games.sokoban.solver import Estimate, remaining, solve
from pettingllms_envs_games.sokoban.state import SokobanState

STEEPNESS = 3.5
"""How fast the potential falls with the remaining moves: 0.8 times a move with the default budget of 16."""


def potential(estimate: Estimate, scale: int) -> float:
    """Return the potential of a position: ``exp(-3.5 * remaining moves / scale)``; 1 solved, 0 dead.

    A geometric potential keeps the price of a dead end in proportion to what a move can gain. A linear one
    makes every push near the goal a bad bet for a team that still errs, and it learns to stand still.
    """
    return 0.0 if estimate.moves is None else math.exp(-STEEPNESS * estimate.moves / scale)


@attrs.frozen
class SokobanEnvironment:
    """Sokoban as a team (planner, executor) or a single player.

    A turn makes up to ``moves_per_turn`` moves. The planner's step stores its proposal and reports
    what that *would* do; the executor's (or player's) step moves. The episode ends when every box is
    on a goal. It ends as a failure when the position is known to be unsolvable, or after ``max_turns`` turns.

    Facts of every step:

    - ``parsed``, ``legal`` (parsed, and no illegal move), ``moves`` (carried out), ``illegal`` (into a
      wall or a blocked box; skipped), ``cut`` (beyond ``moves_per_turn``; not tried), ``effort`` (moves
      tried, at least one, in shares of the state's ``scale``): of the answer, also of a proposal.
    - ``solved``, ``failed`` (over and unsolved), ``deadlock`` (known to be unsolvable), ``boxes_delta``
      (boxes on goals, after less before), ``progress`` (change of potential, from 0 when
      dead to 1 when solved): of the position, so a proposal changes none of them.
    - ``best_progress`` (the most that a turn could make), ``exact`` (whether distances are exact, or
      lower bounds because the board is large).
    - planner only: ``would_progress``, ``would_boxes_delta``, ``would_solve``, ``would_deadlock``.
    """

    options: SokobanOptions = attrs.field(factory=SokobanOptions)

    @property
    def roles(self) -> tuple[str, ...]:
        """The seats, in acting order."""
        return ("planner", "executor") if self.options.players == "team" else ("player",)

    @property
    def max_turns(self) -> int:
        """Turns before the episode ends as a failure."""
        return self.options.max_turns

    def start(self, task: Task, seed: int) -> SokobanState:
        """Return the level of `task` before the first move; Sokoban has no chance, so `seed` has no effect.

        Raises:
            ConfigError: The task's rows are not a playable level.
        """
        level = parse_level(list(task.data["rows"]))
        estimate = remaining(level.rows, level.player, level.boxes)
        scale = max(self.options.budget, estimate.moves or 0)
        return SokobanState(level.rows, level.player, level.boxes, scale, dead=estimate.moves is None)

    def acting_role(self, state: SokobanState) -> str | None:
        """Return who acts now; None when the level is solved, known to be lost, or the turns are used up."""
        if state.turn >= self.options.max_turns or state.solved or state.dead:
            return None
        if self.options.players == "single":
            return "player"
        return "executor" if state.pending else "planner"

    def observe(self, state: SokobanState, role: str) -> Observation:
        """Return the current board and positions; for the executor the proposal and its result as well."""
        options = self.options
        text = describe(state, options.max_turns, options.moves_per_turn, proposal=role == "executor")
        return Observation.of(text)

    async def step(self, state: SokobanState, role: str, response: str) -> Transition[SokobanState]:
        """Return what `response` leads to."""
        parsed = parse_moves(response)
        moves = (parsed or "")[: self.options.moves_per_turn]
        effect = play(state.rows, state.player, state.boxes, moves)
        before = remaining(state.rows, state.player, state.boxes)
        after = remaining(state.rows, effect.player, effect.boxes)
        progress = potential(after, state.scale) - potential(before, state.scale)
        boxes_delta = boxes_on_goals(state.rows, effect.boxes) - boxes_on_goals(state.rows, state.boxes)
        facts: dict[str, Fact] = {
            "parsed": parsed is not None,
            "legal": parsed is not None and effect.illegal == 0,
            "moves": len(effect.made),
            "illegal": effect.illegal,
            "cut": len(parsed or "") - len(moves),
            "effort": max(1, len(effect.made) + effect.illegal) / state.scale,
            "best_progress": self._best_progress(before, state.scale),
            "exact": before.exact,
        }
        if role == "planner":
            facts |= {
                "would_progress": progress,
                "would_boxes_delta": boxes_delta,
                "would_solve": effect.solved,
                "would_deadlock": after.moves is None,
                "progress": 0.0,
                "boxes_delta": 0,
                "solved": False,
                "failed": False,
                "deadlock": before.moves is None,
            }
            proposal = None if parsed is None else moves
            return Transition(attrs.evolve(state, pending=True, proposal=proposal), facts)
        following = attrs.evolve(self._moved(state, effect, parsed is not None), dead=after.moves is None)
        facts |= {
            "progress": progress,
            "boxes_delta": boxes_delta,
            "solved": effect.solved,
            "failed": self.acting_role(following) is None and not effect.solved,
            "deadlock": after.moves is None,
        }
        return Transition(following, facts)

    def _moved(self, state: SokobanState, effect: Effect, parsed: bool) -> SokobanState:
        return attrs.evolve(
            state,
            player=effect.player,
            boxes=effect.boxes,
            turn=state.turn + 1,
            pending=False,
            proposal=None,
            last_moves=effect.made,
            last_illegal=effect.illegal,
            last_parsed=parsed,
        )

    def _best_progress(self, before: Estimate, scale: int) -> float:
        """Return the most that one turn can raise the potential: every move brings it one nearer at most."""
        if before.moves is None:
            return 0.0
        nearest = max(0, before.moves - self.options.moves_per_turn)
        return potential(Estimate(nearest, before.exact), scale) - potential(before, scale)

    def outcome(self, state: SokobanState) -> Outcome:
        """Return success only when every box is on a goal; the score is the share of boxes that are."""
        return Outcome(state.solved, boxes_on_goals(state.rows, state.boxes) / len(state.boxes))

    def expert(self, state: SokobanState, role: str) -> str | None:
        """Return the next moves of an optimal solution, or None from a position without one.

        The executor's expert makes the proposal its own when that loses nothing. On boards too large for
        an optimal search within its limit the solution may be longer (`solver.solve`).
        """
        moves = solve(state.rows, state.player, state.boxes).moves[: self.options.moves_per_turn]
        if role == "executor" and state.proposal and len(state.proposal) == len(moves):
            mine = play(state.rows, state.player, state.boxes, moves)
            other = play(state.rows, state.player, state.boxes, state.proposal)
            if not other.illegal and _distance(state.rows, other) == _distance(state.rows, mine):
                moves = other.made
        return spell(moves) if moves else None

    def random_response(self, state: SokobanState, role: str, rng: random.Random) -> str:
        """Return one to ``moves_per_turn`` random moves."""
        return spell("".join(rng.choice(MOVES) for _ in range(rng.randint(1, self.options.moves_per_turn))))

    def render(self, state: SokobanState) -> str:
        """Return the board in XSB marks and the turns used."""
        board = "\n".join(draw(state.rows, state.player, state.boxes))
        waiting = f"\nproposal: {spell(state.proposal)}" if state.proposal is not None else ""
        return f"{board}\nturn {state.turn} of {self.options.max_turns}{waiting}"


def _distance(rows: Rows, effect: Effect) -> tuple[int | None, tuple[Cell, ...] | None]:
    """Return something that is equal for two effects only if neither is farther from the solution."""
    estimate = remaining(rows, effect.player, effect.boxes)
    if estimate.exact:
        return estimate.moves, None
    # A lower bound cannot compare positions, so only the same position counts as equal.
    return -1, (effect.player, *effect.boxes)
