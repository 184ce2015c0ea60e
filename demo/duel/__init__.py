"""`make duel`: the same jobs and the same faults for stock Celery and for Penstock, side by side, judged from outside.

`match.py` what happens when · `faults.py` what is done to both · `side.py` one side's servers, workers and producer ·
`tasks.py`, `effects.py` the jobs and the lines that they leave behind · `judge.py` what those lines mean ·
`record.py` everything seen of one side · `story.py` a fault's effect in words · `screen.py`, `picture.py` what a person
sees. `stock_app.py` and what it imports know nothing of Penstock.
"""
