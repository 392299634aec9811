"""What `pettingllms benchmark` measures."""
