"""Where generators and learners run."""
