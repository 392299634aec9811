"""Weights: generators, the learner, tokenisation and the tiny model."""
