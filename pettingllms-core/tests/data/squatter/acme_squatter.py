"""Takes the name of the built-ins."""
