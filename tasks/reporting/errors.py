"""Why a report could not be made. Apart from `reading.py`, so that a task can name them without loading SQLAlchemy."""


class QueryRefused(Exception):
    """The database does not run this statement, or only reads are permitted; correct the SQL. Nothing was changed."""


class SourceUnavailable(Exception):
    """The database that a report reads does not answer; start it or correct TASKS_DATABASES."""


class UnknownDatabase(Exception):
    """No database has this name; add it to TASKS_DATABASES."""


class NameRefused(ValueError):
    """A report's name could lead out of its folder, or is no file name; choose another."""
