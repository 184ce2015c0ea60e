"""The ledger: one row for every job, in SQL.

**What is stored**: `tables.py` · `session.py` how connections are opened · `schema.py` and `migrations/` how the tables
come to be · `rows.py` and `records.py` what goes in and comes out, as values.

**Writing**: `delivery.py` what a message says of its job · `failure.py` exceptions and their fingerprints ·
`encoding.py` values as JSON · `collecting.py` what a job tells while it ends · `outlet.py` where it goes ·
`recorder.py` batches, once and whole, by `recording/`.

**Statements**, for whoever brings the transaction: `queries.py` single jobs · `search.py` lists · `deliveries.py` how
far jobs have come · `letters.py` dead letters · `outbox.py`, of which `listening.py` hears · `chords.py` · `groups.py`
· `failure_groups.py` · `balance.py` · `retention.py`.

**Celery's side**: `backend.py` its result backend · `meta.py` rows as AsyncResult reads them · `waiting.py` waiting for
results · `celery_chords.py` and `unlocking.py` chords.
"""
