"""Sokoban and Sudoku for teams of LLM agents."""
