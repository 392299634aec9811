"""What an environment is: pure functions of an immutable state (torch-free)."""
