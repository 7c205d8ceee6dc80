"""TAXREC: an LLM ranks by a taxonomy of its own (Liang et al. 2024, as adapted in the paper's appendix A.7)."""
