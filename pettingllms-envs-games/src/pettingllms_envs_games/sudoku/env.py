"""The Sudoku environment: a planner and an executor, or one player."""

from __future__ import annotations

import random

import attrs

from pettingllms.api import ConfigError, EnvironmentFault, Fact, Observation, Outcome, Task, Transition
from pettingllms_envs_games.sudoku.grid import conflicts, is_solved, open_cells, parse_puzzle, picture
from pettingllms_envs_games.sudoku.moves import NOTHING, Answer, Effect, apply, parse, write
from pettingllms_envs_games.sudoku.options import SudokuOptions
from pettingllms_envs_games.sudoku.prompts import describe, describe_proposal, entry_of, open_conflicts
from pettingllms_envs_games.sudoku.solver import completions, nearest
from pettingllms_envs_games.sudoku.state import SudokuState


class SudokuEnvironment:
    """Fill a Sudoku without touching its clues; any valid completion of the clues solves it.

    In a team the planner's response changes nothing but the proposal; the executor sees it with what it would
    do, and its response is what is committed. A single player commits its own.

    Facts of every transition, about the response: ``parsed``, ``legal`` (it could be read and all of it
    takes effect), ``applied``, ``clue_overwrites``, ``out_of_range``, ``over_limit`` (numbers of entries),
    ``entry_conflicts`` (applied entries that clash with another digit). About the board after it: ``cells``
    (to fill), ``filled``, ``correct`` (see `solver.nearest`), ``conflicts``, ``progress`` (the change of
    ``correct`` over ``cells``), ``solved``, ``done``, ``failed`` (done and not solved: a timeout). A
    planner leaves the board as it is; its facts have what the proposal would do besides:
    ``would_progress``, ``would_solve``, ``would_conflict`` (conflicts), and ``best_progress``, the most
    that a turn could reach.
    """

    def __init__(self, options: SudokuOptions) -> None:
        self.options = options

    @property
    def roles(self) -> tuple[str, ...]:
        """The seats in acting order."""
        return ("player",) if self.options.players == "single" else ("planner", "executor")

    @property
    def max_turns(self) -> int:
        """How often each role acts at most."""
        return self.options.max_turns

    def start(self, task: Task, seed: int) -> SudokuState:
        """Return the state with only the clues of ``task.data["puzzle"]``; there is no chance to seed.

        Raises:
            ConfigError: The task is no puzzle of this size, has no completion or cannot be filled in time.
        """
        text = task.data.get("puzzle")
        if not isinstance(text, str):
            raise ConfigError(f"sudoku task {task.id!r} has no text 'puzzle'; give it a line of digits")
        size = self.options.size
        clues = parse_puzzle(text, size)
        completions(clues, size)
        if (empty := len(open_cells(clues))) > self.options.budget:
            raise ConfigError(
                f"sudoku task {task.id!r} has {empty} empty cells, but {self.options.max_turns} turns of "
                f"{self.options.entries_per_turn} entries fill {self.options.budget}; "
                "raise max_turns or cells_per_turn"
            )
        return SudokuState(size=size, clues=clues, grid=clues)

    def acting_role(self, state: SudokuState) -> str | None:
        """Return who acts now, or None when the board is solved or the turns are used up."""
        if state.turn >= self.options.max_turns or is_solved(state.grid, state.clues, state.size):
            return None
        if self.options.players == "single":
            return "player"
        return "planner" if state.proposal is None else "executor"

    def observe(self, state: SudokuState, role: str) -> Observation:
        """Return the board as a picture and in words and, for the executor, the proposal and its result."""
        self._known(role)
        text = describe(state, self.options.max_turns, self.options.entries_per_turn)
        if role == "executor":
            text += "\n" + describe_proposal(state, self._would(state))
        return Observation.of(text)

    async def step(self, state: SudokuState, role: str, response: str) -> Transition[SudokuState]:
        """Return what `response` leads to; text that cannot be read changes nothing but the turn.

        Raises:
            EnvironmentFault: It is not `role`'s turn.
        """
        if role != self.acting_role(state):
            raise EnvironmentFault(f"sudoku: {self.acting_role(state)!r} acts now, not {role!r}")
        answer = parse(response, state.size)
        effect = self._effect(state, answer or NOTHING)
        if role == "planner":
            after = attrs.evolve(state, proposal=effect.applied, proposal_parsed=answer is not None)
        else:
            after = attrs.evolve(
                state,
                grid=effect.grid,
                turn=state.turn + 1,
                proposal=None,
                proposal_parsed=True,
                last=effect.applied,
                last_parsed=answer is not None,
                last_refused=effect.refused,
            )
        return Transition(after, self._facts(state, after, answer is not None, effect))

    def outcome(self, state: SudokuState) -> Outcome:
        """Return success when the board is solved; the score is the share of open cells that are right."""
        solved = is_solved(state.grid, state.clues, state.size)
        correct = nearest(state.grid, state.clues, state.size)[1]
        return Outcome(success=solved, score=correct / len(open_cells(state.clues)))

    def expert(self, state: SudokuState, role: str) -> str:
        """Return entries towards the completion that the board is nearest to, mistakes mended first.

        The executor follows a proposal that gains as much as its own entries would.
        """
        self._known(role)
        target, correct = nearest(state.grid, state.clues, state.size)
        cells = open_cells(state.clues)
        wrong = [cell for cell in cells if state.grid[cell] not in (0, target[cell])]
        empty = [cell for cell in cells if not state.grid[cell]]
        entries = tuple(entry_of(cell, target[cell], state.size) for cell in wrong + empty)
        entries = entries[: self.options.entries_per_turn]
        if role == "executor" and state.proposal:
            gain = nearest(self._would(state), state.clues, state.size)[1] - correct
            if gain >= len(entries):
                entries = state.proposal
        return write(entries)

    def random_response(self, state: SudokuState, role: str, rng: random.Random) -> str:
        """Return random digits for random empty cells, or for any open cell of a full board."""
        self._known(role)
        cells = [c for c in open_cells(state.clues) if not state.grid[c]] or list(open_cells(state.clues))
        chosen = rng.sample(cells, min(len(cells), self.options.entries_per_turn))
        entries = tuple(entry_of(cell, rng.randint(1, state.size), state.size) for cell in chosen)
        return write(entries)

    def render(self, state: SudokuState) -> str:
        """Return the board with the borders of its boxes, and how the episode stands."""
        if is_solved(state.grid, state.clues, state.size):
            status = f"solved in {state.turn} of {self.options.max_turns} turns"
        elif state.turn >= self.options.max_turns:
            status = "out of turns"
        else:
            status = f"turn {state.turn + 1} of {self.options.max_turns}"
        lines = [picture(state.grid, state.size, boxed=True), status]
        if state.proposal is not None:
            lines.append(describe_proposal(state, self._would(state)))
        return "\n".join(lines)

    def _known(self, role: str) -> None:
        if role not in self.roles:
            raise EnvironmentFault(f"sudoku has no role {role!r} with players={self.options.players!r}")

    def _effect(self, state: SudokuState, answer: Answer) -> Effect:
        return apply(answer, state.grid, state.clues, state.size, self.options.entries_per_turn)

    def _would(self, state: SudokuState) -> tuple[int, ...]:
        """Return the board that the waiting proposal leads to."""
        return self._effect(state, Answer(state.proposal or ())).grid

    def _facts(
        self, before: SudokuState, after: SudokuState, parsed: bool, effect: Effect
    ) -> dict[str, Fact]:
        size, clues = before.size, before.clues
        cells = open_cells(clues)
        was = nearest(before.grid, clues, size)[1]
        reached = nearest(effect.grid, clues, size)[1]
        clashing = conflicts(effect.grid, size)
        touched = {(e.row - 1) * size + e.column - 1 for e in effect.applied}
        committed = after.turn > before.turn
        solved = is_solved(after.grid, clues, size)
        done = self.acting_role(after) is None
        facts: dict[str, Fact] = {
            "parsed": parsed,
            "legal": parsed and not effect.refused,
            "applied": len(effect.applied),
            "clue_overwrites": effect.clue_overwrites,
            "out_of_range": effect.out_of_range,
            "over_limit": effect.over_limit,
            "entry_conflicts": len(touched & clashing),
            "cells": len(cells),
            "filled": sum(after.grid[cell] > 0 for cell in cells),
            "correct": reached if committed else was,
            "conflicts": len(open_conflicts(after.grid, clues, size)),
            "progress": (reached - was) / len(cells) if committed else 0.0,
            "solved": solved,
            "done": done,
            "failed": done and not solved,
        }
        if not committed:
            facts |= {
                "would_progress": (reached - was) / len(cells),
                "would_solve": is_solved(effect.grid, clues, size),
                "would_conflict": len(open_conflicts(effect.grid, clues, size)),
                "best_progress": min(self.options.entries_per_turn, len(cells) - was) / len(cells),
            }
        return facts
