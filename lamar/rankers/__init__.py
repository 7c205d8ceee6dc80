"""LLMs as rankers: fine-tuned with LoRA to pick a user's next item from a pool of candidates (paper, section 4.4)."""
