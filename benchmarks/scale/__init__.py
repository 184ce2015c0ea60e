"""What Redis and PostgreSQL spend per job with many at once, where each is at its end, and what a second one adds.

`claimers` measures Redis, `recorders` PostgreSQL, `page` runs both and writes `docs/scale.md`.
"""
