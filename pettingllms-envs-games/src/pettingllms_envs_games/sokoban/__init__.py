"""Sokoban: push every box onto a goal, as a planner and an executor or as a single player."""
