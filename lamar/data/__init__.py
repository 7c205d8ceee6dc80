"""Raw files of any catalogue to three prepared tables."""
