"""Recformer: a text encoder that reads a history of items as one sequence of tokens."""
