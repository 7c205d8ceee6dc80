"""Items and histories as text."""
