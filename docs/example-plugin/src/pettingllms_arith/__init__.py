"""Long addition for a team of two: an example of a PettingLLMs plugin."""
