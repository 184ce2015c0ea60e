"""Guards between Celery and the scripts: what a worker holds, what it delivers, and how jobs get to Redis."""

from tests.mutants.guard import Guard

CLAIMS, ENVELOPE, TRANSPORT = "penstock/broker/claims.py", "penstock/broker/envelope.py", "penstock/broker/transport.py"
PUBLISHER, CONNECTION = "penstock/broker/publisher.py", "penstock/broker/connection.py"
ON_CLAIMS, ON_TRANSPORT = "tests/broker/test_guards_claims.py", "tests/broker/test_guards_transport.py"
ON_PUBLISHER, ON_CONNECTION = "tests/broker/test_publisher.py", "tests/broker/test_connection.py"

HELD = (
    Guard(
        name="claim-is-asked-for-again",
        file=CLAIMS,
        text="        if self._pending is None:\n            count = max(",
        replacement="        if True:\n            count = max(",
        test=f"{ON_CLAIMS}::test_a_claim_is_asked_for_again_while_its_answer_is_missing",
        why="What a lost connection carried stays in flight and never starts.",
    ),
    Guard(
        name="tokens-are-never-used-again",
        file=CLAIMS,
        text="            self._base = max(int(message.token.partition(",
        replacement="            max(int(message.token.partition(",
        test=f"{ON_CLAIMS}::test_the_next_claim_starts_after_the_last_token",
        why="Two messages have one token, and the settlement of one ends the other.",
    ),
    Guard(
        name="claim-is-settled-once",
        file=CLAIMS,
        text="            held = self._held.pop(token, None)\n",
        replacement="            held = self._held.get(token, None)\n",
        test=f"{ON_CLAIMS}::test_a_claim_is_settled_once",
        why="A job that was given back is acknowledged by the thread that had it.",
    ),
    Guard(
        name="claim-is-settled-by-its-holder",
        file=CLAIMS,
        text="        return Settlement(*held, token, ",
        replacement="        return Settlement(self.worker, held[1], token, ",
        test=f"{ON_CLAIMS}::test_what_an_older_incarnation_holds_is_settled_under_its_name",
        why="After a new lease the jobs that still run cannot be settled, and run again.",
    ),
    Guard(
        name="lost-claims-are-forgotten",
        file=CLAIMS,
        text="                del self._held[token]\n",
        replacement="                pass\n",
        test=f"{ON_CLAIMS}::test_what_was_taken_away_is_settled_by_nobody",
        why="A worker counts jobs that others run, and claims less and less.",
    ),
    Guard(
        name="unreadable-is-quarantined",
        file=CLAIMS,
        text="        except envelope.Unreadable as error:\n",
        replacement="        except ZeroDivisionError as error:\n",
        test=f"{ON_CLAIMS}::test_what_cannot_be_read_is_quarantined_and_the_rest_is_delivered",
        why="One `LPUSH celery 'not json'` ends the worker, and the next one that claims it.",
        red="Unreadable",
    ),
    Guard(
        name="not-due-is-parked",
        file=CLAIMS,
        text="        if due > self.server_ms() + PARK_MARGIN_MS:\n",
        replacement="        if False:\n",
        test=f"{ON_CLAIMS}::test_what_is_not_due_is_parked",
        why="Jobs for later lie in the worker's memory and die with it.",
    ),
    Guard(
        name="server-says-what-is-due",
        file=CLAIMS,
        text="        return int(time.time() * 1000) - self._offset_ms\n",
        replacement="        return int(time.time() * 1000)\n",
        test=f"{ON_CLAIMS}::test_the_servers_clock_says_what_is_due",
        why="A worker whose clock is behind parks what is promoted at once, round and round.",
    ),
    Guard(
        name="times-are-those-of-the-host",
        file=CLAIMS,
        text="envelope.localise(payload, self._offset_ms",
        replacement="envelope.localise(payload, 0",
        test=f"{ON_CLAIMS}::test_times_arrive_by_the_clock_of_this_host",
        why="A worker whose clock is ahead takes jobs for expired that are not.",
    ),
    Guard(
        name="count-goes-with-its-job",
        file=CLAIMS,
        text='"ack_counted" if token in self._counted else "ack"',
        replacement='"ack"',
        test=f"{ON_CLAIMS}::test_the_count_of_a_redelivered_message_goes_with_its_claim",
        why="Delivery counts of finished jobs pile up in Redis.",
    ),
    Guard(
        name="claimed-jobs-leave-the-index",
        file=CLAIMS,
        text="            self.settler.unindex(delivered)\n",
        replacement="            pass\n",
        test=f"{ON_CLAIMS}::test_a_delivered_job_leaves_the_waiting_index",
        why="Jobs that have run are shown as waiting.",
    ),
    Guard(
        name="without-properties-is-unreadable",
        file=ENVELOPE,
        text="    if not isinstance(properties, dict):\n",
        replacement="    if False:\n",
        test=f"{ON_CLAIMS}::test_what_nobody_can_deliver_is_unreadable_and_nothing_worse[properties]",
        why="A message without properties ends the connection of every worker that claims it.",
        red="AttributeError",
    ),
    Guard(
        name="bad-body-is-unreadable",
        file=ENVELOPE,
        text="    except (binascii.Error, ValueError) as error:\n",
        replacement="    except ZeroDivisionError as error:\n",
        test=f"{ON_CLAIMS}::test_what_nobody_can_deliver_is_unreadable_and_nothing_worse[base64]",
        why="A body that is not base64 ends the connection of every worker that claims it.",
        red="Error",
    ),
    Guard(
        name="deep-json-is-unreadable",
        file=ENVELOPE,
        text="NOT_DECODED = (ValueError, RecursionError, ",
        replacement="NOT_DECODED = (ValueError, ",
        test=f"{ON_CLAIMS}::test_what_nobody_can_deliver_is_unreadable_and_nothing_worse[depth]",
        why="A message of brackets ends the connection of every worker that claims it.",
        red="RecursionError",
    ),
)

DELIVERED = (
    Guard(
        name="strict-priority",
        file=TRANSPORT,
        text="[Source(queue, step) for step in self.priority_steps for queue in queues]",
        replacement="[Source(queue, step) for queue in queues for step in self.priority_steps]",
        test=f"{ON_TRANSPORT}::test_what_is_urgent_comes_first_whatever_its_queue",
        why="An urgent job waits behind everything that another queue holds.",
    ),
    Guard(
        name="revocations-before-deliveries",
        file=TRANSPORT,
        text="        if answer.revoked_version > claims.revoked_version:\n",
        replacement="        if False:\n",
        test=f"{ON_TRANSPORT}::test_a_revocation_is_known_before_its_job_is_delivered",
        why="A worker that was down runs what was revoked meanwhile.",
    ),
    Guard(
        name="nobodys-delivery-goes-back",
        file=TRANSPORT,
        text='        if claims is None or not claims.settle(token, "return"):\n',
        replacement="        if claims is None:\n",
        test=f"{ON_TRANSPORT}::test_a_message_of_a_queue_that_was_cancelled_meanwhile_goes_back",
        why="A job that arrives while its queue is cancelled stays in flight as long as the worker lives.",
    ),
    Guard(
        name="no-lease-is-noticed",
        file=TRANSPORT,
        text="        if not answer.has_lease:\n",
        replacement="        if False:\n",
        test=f"{ON_TRANSPORT}::test_a_worker_without_a_lease_knows_that_it_has_none",
        why="A worker that was reaped is connected and consumes nothing, for ever.",
    ),
)

PUBLISHED = (
    Guard(
        name="lost-reply-is-repeated-as-it-was",
        file=PUBLISHER,
        text="                self._producer.post(self._call)\n",
        replacement="                self._producer._sequence += 1\n"
        "                self._call[3] = self._producer._sequence\n"
        "                self._producer.post(self._call)\n",
        test=f"{ON_PUBLISHER}::test_a_call_whose_reply_was_lost_makes_its_jobs_once[valkey]",
        why="A producer that repeats a call under a new number makes two jobs of one.",
    ),
    Guard(
        name="broken-off-call-closes",
        file=PUBLISHER,
        text="            self.is_unanswered = True\n            self.connection.disconnect()\n",
        replacement="            self.is_unanswered = True\n",
        test=f"{ON_PUBLISHER}::test_a_call_that_was_broken_off_leaves_no_reply_for_the_next[valkey]",
        why="A late reply passes for the next call's, and a refused job is reported as accepted.",
    ),
    Guard(
        name="child-numbers-its-own-calls",
        file=PUBLISHER,
        text="        if self._owner != os.getpid():\n",
        replacement="        if False:\n",
        test=f"{ON_PUBLISHER}::test_a_forked_child_has_connections_and_numbers_of_its_own[valkey]",
        why="Parent and child share a socket and numbers, and calls of one pass for repeats of the other's.",
    ),
    Guard(
        name="passing-refusals-only",
        file=PUBLISHER,
        text="""    return (getattr(error, "status_code", None) or str(error).partition(" ")[0]) in PASSING\n""",
        replacement="    return True\n",
        test="tests/broker/test_guards_publisher.py::test_a_refusal_that_does_not_pass_is_told_at_once",
        why="Every enqueue on a full Redis blocks its web request for seconds.",
    ),
)

GUARDS = (*HELD, *DELIVERED, *PUBLISHED)
