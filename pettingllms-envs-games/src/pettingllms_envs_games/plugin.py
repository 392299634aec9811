"""What this package registers with PettingLLMs; importing it loads no environment."""

from __future__ import annotations

from collections.abc import Iterable

from pettingllms.api import EnvironmentSpec, RewardSpec, RoleSpec, hookimpl

_SOKOBAN = "pettingllms_envs_games.sokoban"
_SUDOKU = "pettingllms_envs_games.sudoku"


@hookimpl
def pettingllms_register_environments() -> Iterable[EnvironmentSpec]:
    """Return the environments of this package."""
    return [
        # Sokoban
        EnvironmentSpec(
            name="games/sokoban",
            factory=f"{_SOKOBAN}.env:SokobanEnvironment",
            suite=f"{_SOKOBAN}.suite:SokobanSuite",
            state=f"{_SOKOBAN}.state:SokobanState",
            options=f"{_SOKOBAN}.options:SokobanOptions",
            roles={
                "planner": "games/sokoban-planner",
                "executor": "games/sokoban-executor",
                "player": "games/sokoban-player",
            },
            reward="games/sokoban",
            preset="sokoban",
            summary="push boxes onto goals; planner and executor, or a single player",
        ),
        # Sudoku
        EnvironmentSpec(
            name="games/sudoku",
            factory=f"{_SUDOKU}.env:SudokuEnvironment",
            suite=f"{_SUDOKU}.suite:SudokuSuite",
            state=f"{_SUDOKU}.state:SudokuState",
            options=f"{_SUDOKU}.options:SudokuOptions",
            roles={
                "planner": "games/sudoku-planner",
                "executor": "games/sudoku-executor",
                "player": "games/sudoku-player",
            },
            reward="games/sudoku",
            preset="sokodu_single",
            summary="fill a 4x4, 6x6 or 9x9 Sudoku; planner and executor, or a single player",
        ),
    ]


@hookimpl
def pettingllms_register_reward_functions() -> Iterable[RewardSpec]:
    """Return the reward functions of this package."""
    return [
        # Sokoban
        RewardSpec(
            name="games/sokoban",
            factory=f"{_SOKOBAN}.rewards:SokobanReward",
            options=f"{_SOKOBAN}.rewards:SokobanRewardOptions",
            summary="progress (potential-based), boxes on goals, success and failure, discipline",
        ),
        RewardSpec(
            name="games/sokoban-sparse",
            factory=f"{_SOKOBAN}.rewards:SokobanSparseReward",
            options=f"{_SOKOBAN}.rewards:SokobanSparseRewardOptions",
            summary="success and failure only",
        ),
        # Sudoku
        RewardSpec(
            name="games/sudoku",
            factory=f"{_SUDOKU}.rewards:SudokuReward",
            options=f"{_SUDOKU}.rewards:SudokuRewardOptions",
            summary="right cells (potential-based), success, failure, discipline",
        ),
        RewardSpec(
            name="games/sudoku-sparse",
            factory=f"{_SUDOKU}.rewards:SudokuSparseReward",
            options=f"{_SUDOKU}.rewards:SudokuSparseRewardOptions",
            summary="success and failure only",
        ),
    ]


@hookimpl
def pettingllms_register_agent_roles() -> Iterable[RoleSpec]:
    """Return the roles of this package."""
    return [
        # Sokoban
        RoleSpec(
            name="games/sokoban-planner",
            role=f"{_SOKOBAN}.roles:PLANNER",
            summary="proposes the next moves",
        ),
        RoleSpec(
            name="games/sokoban-executor",
            role=f"{_SOKOBAN}.roles:EXECUTOR",
            summary="judges the proposal and moves",
        ),
        RoleSpec(
            name="games/sokoban-player",
            role=f"{_SOKOBAN}.roles:PLAYER",
            summary="plays alone",
        ),
        # Sudoku
        RoleSpec(
            name="games/sudoku-planner",
            role=f"{_SUDOKU}.roles:PLANNER",
            summary="proposes the next entries",
        ),
        RoleSpec(
            name="games/sudoku-executor",
            role=f"{_SUDOKU}.roles:EXECUTOR",
            summary="judges the proposal and commits entries",
        ),
        RoleSpec(
            name="games/sudoku-player",
            role=f"{_SUDOKU}.roles:PLAYER",
            summary="plays alone",
        ),
    ]
