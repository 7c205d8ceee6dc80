"""LLM-written semantic signals for sequential recommenders, as a reproducible pipeline."""
