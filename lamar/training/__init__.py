"""One loop that trains every model."""
