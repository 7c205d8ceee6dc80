"""Trained models in use: recommendations by hand, in batches and over HTTP."""
