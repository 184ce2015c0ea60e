"""How a child runs jobs, a file per step.

`claiming.py` takes messages from Redis and waits for them · `opening.py` looks what a message is · `plain.py` runs the
jobs that nearly all are, `reception.py` all others by Celery's own machinery · `handing.py` hands over what became of
them, through memory that outlives the child · `pace.py` says how many to claim · `limits.py` soft time limits ·
`rates.py` rate limits · `line.py` hears the keeper.
"""
