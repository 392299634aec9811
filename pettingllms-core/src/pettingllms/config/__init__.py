"""Settings of a run: schema, strict structuring, TOML and Python loading, presets (torch-free)."""
