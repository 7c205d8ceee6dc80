"""Semantic signals: the question, the answers, what is kept of them and how good it is."""
