"""Every committed result on one page."""
