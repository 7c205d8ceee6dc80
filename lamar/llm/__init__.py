"""Asking an LLM: providers, weights, and the journal of every answer."""
