"""The verbs of the command line: plug-ins of ``celery``, declared as entry points in pyproject.toml.

Celery imports these modules for every ``celery …`` command, of any project in the same environment. So they
import nothing but click at their top; what a command needs is imported when it runs.
"""
