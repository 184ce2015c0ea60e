"""What runs in the environment of each system: its tasks, its producer, its worker. Nothing of Penstock is loaded here.

A module per system. Its producer answers the harness by :mod:`benchmarks.peers.producer`; its worker is the system's
own command, or ``work()`` where it has none. ``requirements/`` pins what is installed; `bullmq/` is Node's.
"""
