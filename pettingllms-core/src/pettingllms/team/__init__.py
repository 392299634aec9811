"""Who plays: roles, the policies behind them, and what they are rewarded for (torch-free)."""
