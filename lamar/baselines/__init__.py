"""Recommenders that Recformer is compared with: one file each."""
