"""What a run tells: JSON lines, the console and the summary."""
