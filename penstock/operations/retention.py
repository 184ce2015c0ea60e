"""Deleting by the rules of retention because a person says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

from penstock.config import Settings
from penstock.ledger import queries, schema
from penstock.ledger.retention import sweeps
from penstock.ledger.session import writing
from penstock.retention import RetentionRules


def sweep(settings: Settings, rules: RetentionRules, *, actor: str) -> Generator[Counter[str], None, None]:
    """Deletes in batches, and yields after each how many rows of which table are gone so far.

    The audit gets the counts at the end, also when somebody stops half way.

    Raises:
        LedgerOutdated: the tables are not those that this version needs; nothing was deleted.
        LedgerUnavailable: SQL went away; what was yielded is deleted.
    """
    schema.require_newest(settings.database_url)
    deleted = Counter[str]()
    try:
        for batch in sweeps(settings.database_url, rules):
            deleted += batch
            yield deleted
    finally:
        if deleted:
            _note(settings, rules, deleted, actor)


def _note(settings: Settings, rules: RetentionRules, deleted: Counter[str], actor: str) -> None:
    with writing(settings.database_url) as connection:
        details = {"rules": str(rules), "deleted": deleted}
        queries.add_audit(connection, actor=actor, action="purge ledger", details=details)
