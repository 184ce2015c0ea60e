"""A child's claims: taken over a connection of its own, opened after the fork.

While nothing waits the child rests on the wake lists of its queues: one token, one child. A token that gets lost costs
a poll, never a job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from penstock.broker.claims import Claims
from penstock.broker.connection import connect
from penstock.broker.keys import FIELD_SEPARATOR, PRIORITY_STEPS, Keys
from penstock.broker.scripts import Claimed, Scripts, Settlement, Source, claim_reply, script

logger = logging.getLogger(__name__)
WAKE_SECONDS = 2
"""How long an idle child waits for a token before it asks again; a dead connection is noticed as soon."""
OVERDUE_SECONDS = 3.0
"""How much later than promised an answer may come before its connection counts as dead."""
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
"""Before Redis is tried again; twice as long after each failure."""
LOST = (RedisError, OSError)
Wait = Callable[[float, int | None], bool]


class Claiming:
    """The connection, and what it is used for."""

    def __init__(
        self,
        broker_url: str,
        options: dict[str, Any],
        claims: Claims,
        wait: Wait,
        on_connected: Callable[[Scripts], None],
        is_over: Callable[[], bool],
        is_unwanted: Callable[[], bool],
    ) -> None:
        """Args:
        on_connected: called before anything is claimed by a new connection.
        is_over: whether the child is to end.
        is_unwanted: whether there is no room any more for what a claim that waits with Redis would bring.
        wait: waits so many seconds, or until a socket can be read, or something else happens; whether it can.
        """
        self._client = connect(broker_url, options, name="child", wait=WAKE_SECONDS, retries=0)
        self.scripts = Scripts(self._client, Keys(options.get("global_keyprefix") or ""))
        self._claims = claims
        self._wait = wait
        self._on_connected = on_connected
        self._is_over = is_over
        self._is_unwanted = is_unwanted
        self._id = 0
        self._connection: Any = None
        self.queues: list[str] = []
        self.seems_empty = False
        """Whether the last claim has brought less than it asked for: the next one waits for a token."""
        self._pause = 0.0
        self._turn = 0

    # -- claiming -----------------------------------------------------------------------------------------------

    def serve(self, queues: Sequence[str]) -> None:
        """Claims from these queues from now on."""
        self.queues = list(queues)
        self.seems_empty = False

    def claim(self, count: int) -> list[Claimed]:
        """Up to so many messages; none when there seem to be none, or Redis does not answer, after a while.

        Redis is asked again for the answer that got lost, under the same base, so nothing is lost with it.
        """
        if not self._claims.worker and self._claims.pending is None:
            self._wait(LAST_PAUSE, None)
            return []
        is_unasked = self._claims.pending is None
        if is_unasked and not self.queues:
            self._wait(LAST_PAUSE, None)
            return []
        try:
            if is_unasked and self.seems_empty:
                return self._claim_by_token(count)
            return self._take(self._run("claim", self._claims.next_claim(self._sources(), count)))
        except LOST as error:
            self._lost(error)
            return []

    def _take(self, reply: Any) -> list[Claimed]:
        self._pause = 0.0
        answer = claim_reply(reply)
        if not answer.has_lease:
            self._claims.refuse()
            return []
        self.seems_empty = not self._claims.receive(answer)
        if answer.revoked_version > self._claims.revoked_version:
            self._learn_revocations()
        return self._claims.arrived()

    def _sources(self) -> list[Source]:
        """Strict priority, and within a priority the queues in turn, as kombu serves them."""
        self._turn += 1
        turn = self._turn % max(len(self.queues), 1)
        queues = self.queues[turn:] + self.queues[:turn]
        unknown = [source for source in self._claims.unknown if source.queue in queues]
        return unknown + [Source(queue, step) for step in PRIORITY_STEPS for queue in queues]

    def _learn_revocations(self) -> None:
        """Before anything of this batch is opened: a job that was revoked while it waited must not start."""
        client, keys = self._client, self.scripts.keys
        first = f"({self._claims.revoked_version}"
        ids: Any = client.zrange(keys.revoked, first, "+inf", byscore=True, withscores=True)
        stamps: Any = client.zrange(
            keys.revoked_stamps,
            first,
            "+inf",
            byscore=True,
            withscores=True,
        )
        self._claims.learn(
            [id.decode() for id, _ in ids],
            [tuple(stamp.decode().split(FIELD_SEPARATOR, 1)) for stamp, _ in stamps],
            int(max((version for _, version in chain(ids, stamps)), default=0)),
        )

    def settle_now(self, settlement: Settlement) -> bool:
        """Ends a claim before its body begins, and waits for it; whether it was still ours."""
        while True:
            try:
                (answer,) = self.scripts.settle([settlement])
            except LOST as error:
                self._lost(error)
            else:
                return bool(answer)

    def settle_beside(self, settlement: Settlement) -> bool:
        """:meth:`settle_now` for another thread than the one that claims, whose connection stays as it is."""
        while True:
            try:
                (answer,) = self.scripts.settle([settlement])
            except LOST:
                time.sleep(FIRST_PAUSE)
            else:
                return bool(answer)

    def settle_together(self, settlements: Sequence[Settlement]) -> list[int]:
        """The answers to these; none when the child is to end before Redis has answered."""
        while not self._is_over():
            try:
                return self.scripts.settle(settlements)
            except LOST as error:
                self._lost(error)
        return []

    # -- resting ------------------------------------------------------------------------------------------------

    def _claim_by_token(self, count: int) -> list[Claimed]:
        """Waits for a token, and claims.

        The claim is sent along with the question for a token, and Redis runs it the moment it has answered that: so the
        message comes with the token, without another way there and back. Without a token it is a poll.
        """
        asked_for = self._asked_for()
        connection = self._connected()
        connection.send_command("BLPOP", *self._wake_lists(), WAKE_SECONDS)
        self._send("claim", self._claims.next_claim(self._sources(), count), check_health=False)
        deadline = time.monotonic() + WAKE_SECONDS + OVERDUE_SECONDS
        while not self._wait(max(deadline - time.monotonic(), 0), connection._sock.fileno()):
            if time.monotonic() >= deadline:
                raise TimeoutError("no answer")
            if self._is_over() or self._is_unwanted() or self._asked_for() != asked_for:
                # It then answers at once, with the token if that was on its way.
                self._client.client_unblock(self._id)
        token = connection.read_response()
        try:
            claimed = self._take(connection.read_response())
        except NoScriptError:
            return []  # It is asked again, with the script.
        if token is not None and (self._is_over() or token[0].decode() not in self._wake_lists()):
            with suppress(*LOST):  # Without it the other one finds the job by its next poll.
                self._client.lpush(token[0], 1)  # For another, who claims.
        return claimed

    def _asked_for(self) -> tuple[Any, ...]:
        """What a claim depends on and the keeper may change while it waits with Redis."""
        return self._claims.worker, self._claims.unknown, tuple(self.queues)

    def _wake_lists(self) -> list[str]:
        return [self.scripts.keys.wake(queue) for queue in self.queues]

    # -- the connection -----------------------------------------------------------------------------------------

    def _run(self, name: str, arguments: list[Any]) -> Any:
        connection = self._connected()
        self._send(name, arguments)
        try:
            return connection.read_response()
        except NoScriptError:
            connection.send_command("EVAL", script(name).text, 0, self.scripts.keys.prefix, *arguments)
            return connection.read_response()

    def _send(self, name: str, arguments: list[Any], *, check_health: bool = True) -> None:
        """Args:
        check_health: whether the connection may ask for a PONG before; not while another answer is on its way.
        """
        command = ("EVALSHA", script(name).sha, 0, self.scripts.keys.prefix, *arguments)
        self._connected().send_command(*command, check_health=check_health)

    def _connected(self) -> Any:
        if self._connection is None:
            pool = self._client.connection_pool
            connection = pool.connection_class(**pool.connection_kwargs)
            connection.connect()
            self._on_connected(self.scripts)
            connection.send_command("CLIENT", "ID")
            self._id = int(connection.read_response())
            self._connection = connection
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None

    def _lost(self, error: Exception) -> None:
        self._hang_up()
        if not self._pause:
            logger.warning("Redis does not answer (%s); what was claimed is kept, and claiming goes on", error)
        self._pause = min(max(self._pause * 2, FIRST_PAUSE), LAST_PAUSE)
        self._wait(self._pause, None)

    def close(self) -> None:
        """Ends the connection."""
        self._hang_up()
        self._client.close()
