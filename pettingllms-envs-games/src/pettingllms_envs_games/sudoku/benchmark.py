"""How fast Sudoku is on this machine: ``python -m pettingllms_envs_games.sudoku.benchmark``.

One core. Steps are random play of a team, parsing and facts included; boards are tasks of the train split.
"""

from __future__ import annotations

import asyncio
import random
import time

from pettingllms_envs_games.sudoku.env import SudokuEnvironment
from pettingllms_envs_games.sudoku.options import BOARD_SIZES, SudokuOptions
from pettingllms_envs_games.sudoku.suite import SudokuSuite


async def steps_per_second(options: SudokuOptions, seconds: float = 2.0) -> float:
    """Return the steps of random play per second of wall time, over 20 boards."""
    env, suite, rng = SudokuEnvironment(options), SudokuSuite(options), random.Random(0)
    starts = [env.start(suite.task("validation", index), 0) for index in range(20)]
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        state = rng.choice(starts)
        while (role := env.acting_role(state)) is not None:
            state = (await env.step(state, role, env.random_response(state, role, rng))).state
            steps += 1
    return steps / (time.perf_counter() - began)


def seconds_of_boards(options: SudokuOptions, count: int = 1000) -> float:
    """Return the seconds of wall time in which `count` boards with one completion are generated."""
    suite = SudokuSuite(options, num_tasks=count, seed=time.time_ns())
    began = time.perf_counter()
    for index in range(count):
        suite.task("train", index)
    return time.perf_counter() - began


def main() -> None:
    """Print one line a board size."""
    for size in BOARD_SIZES:
        options = SudokuOptions(size=size)
        boards, steps = seconds_of_boards(options), asyncio.run(steps_per_second(options))
        print(f"{size}x{size}: 1000 boards in {boards:.1f} s, {steps:.0f} steps/s")


if __name__ == "__main__":
    main()
