"""A keeper's process that publishes one thing; whoever starts it kills it on the way: `… relay|follow-up REDIS SQL`."""

import sys
from datetime import UTC, datetime

from penstock.engine.keeping.relay import Relay
from penstock.job import State
from penstock.ledger.recorder import Recorder
from penstock.ledger.records import Record, Step
from penstock.ledger.rows import Delivery, Outcome
from penstock.outbox import outgoing
from tests.outbox.ground import follow_up, ward


def main(kind: str, broker_url: str, database_url: str) -> None:
    """As the relay, or as what follows a commit of the books."""
    kept = ward(broker_url, database_url)
    if kind == "relay":
        Relay(kept, database_url).turn()
        return
    end = Record(
        step=Step.END,
        delivery=Delivery(id="first", task="tests.note"),
        outcome=Outcome(state=State.SUCCEEDED),
        started_at=datetime.now(UTC),
        at=datetime.now(UTC),
        follow_ups=(follow_up("next"),),
    )
    written = Recorder(database_url).write([end])
    kept.scripts.publish_outbox(outgoing(message, "tag") for message in written.messages)


if __name__ == "__main__":
    main(*sys.argv[1:])
