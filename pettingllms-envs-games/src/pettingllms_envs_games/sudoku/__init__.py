"""Sudoku for a planner and an executor, or for one player."""
