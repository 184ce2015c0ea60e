"""A shop on a bad day, and whether Flower's pages alone say what is wrong: `python -m demo.operations`.

`shop` is the application, `day` makes the bad day of it for real, `questions` asks what an operator would ask, in a
browser, and counts seconds and clicks.
"""
