"""What the results are worth: chance, where signals help, what signals are like, and what people think of them.

Computed from ranks, signals and rating sheets that earlier stages left; nothing is trained here.
"""
