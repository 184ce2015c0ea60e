"""What bodies say of themselves while they run: how far they are, and what they log.

    body ──► AttemptReport ──(4 times a second, and at the end)──► ring or datagram ──► keeper ──► ledger

Nothing of it makes a body wait, and no outcome waits for it: what there is no room for is left out and counted.
"""
