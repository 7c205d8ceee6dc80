"""From scores to ranks, from ranks to metrics, and what each result was made from."""
