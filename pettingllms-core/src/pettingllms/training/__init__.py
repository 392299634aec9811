"""The loop, evaluation, warm start, checkpoints and the run directory."""
