"""Hooks, specs, discovery and lookup of plugins (torch-free)."""
