"""The books: what was ever accepted against all that wait, run, have ended, or were taken away."""
