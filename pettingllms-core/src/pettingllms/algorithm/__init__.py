"""AT-GRPO: estimators, the clipped loss, and training a group with its prompt computed once."""
