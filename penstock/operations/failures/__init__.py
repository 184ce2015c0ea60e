"""Failures: failed jobs by error, messages that nobody could run, and replaying and discarding them."""
