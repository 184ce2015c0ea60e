"""The ledger: one row for every job, in SQL.

`tables.py` what is stored · `session.py` how connections are opened · `rows.py` rows as values · `queries.py` the
statements that read or write a job · `deliveries.py` those for deliveries that came to no end · `letters.py` those for
dead letters · `recorder.py` outcomes, with patience while SQL is away · `delivery.py` what a message says of its job ·
`failure.py` exceptions and their fingerprints · `backend.py` Celery's result backend on top · `schema.py` and
`migrations/` how the tables come to be.
"""
