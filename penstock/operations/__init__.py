"""What operators ask of a deployment and do to it: no terminal and no web page.

The command line and Flower's pages call the same functions, get data back, and show it each in its own way. Questions
are theirs to ask, before they act. Whoever changes something is named by ``actor``, which the audit keeps.
"""
