"""The conformance kit and pytest fixtures for plugin authors."""
