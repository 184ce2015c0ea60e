"""The ledger: one row for every job, in SQL.

`tables.py` what is stored · `session.py` how connections are opened · `rows.py` rows as values · `queries.py` every
statement that reads or writes a job · `recorder.py` outcomes, with patience while SQL is away · `failure.py` exceptions
and their fingerprints · `backend.py` Celery's result backend on top · `schema.py` and `migrations/` how the tables come
to be.
"""
