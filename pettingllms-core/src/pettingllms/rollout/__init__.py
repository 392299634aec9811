"""From tasks to groups: the tree sampler, independent rollouts and episode records (torch-free)."""
