"""Every error of the library. Each docstring says what happened and what to do about it."""


class PenstockError(Exception):
    """Base of all errors that Penstock raises on purpose; catching it catches them all."""


class SettingsError(PenstockError):
    """The environment does not describe a system that can run; the message lists every problem with its remedy.

    Attributes:
        problems: one sentence per problem, in the order in which the settings are declared.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in the settings:\n" + "\n".join(f"  - {problem}" for problem in problems))


class DeclarationError(PenstockError):
    """A task, schedule or profile was declared with something that cannot work; correct the declaration."""


class UnknownOption(DeclarationError, TypeError):
    """An option of a task or of a call that there is not; the message says which one is meant, or which there are."""


class ArgumentError(PenstockError, TypeError):
    """A job's arguments do not fit its task; the message names the argument, down to its field. Nothing was sent.

    In a worker: a message's arguments do not fit; the job has failed before its body began.
    """


class UnserialisableResult(PenstockError):
    """A task returned what is not JSON, or not what its annotation says; the job is recorded as failed.

    Return what the annotation says, made of the types in docs/client.md, or plain JSON values.
    """


class UnreadableResult(PenstockError):
    """A job's recorded result is not what its task's annotation says; mostly another version of the code wrote it.

    As plain JSON it is in ``job.row.result``.
    """


class BrokerUnavailable(PenstockError):
    """Redis did not take the message: start it or correct REDIS_URL, then repeat.

    The job was not accepted, unless the text says that Redis may have taken the call all the same.
    """


class OutboxError(PenstockError):
    """The job was not put into the session's transaction; the message says why, and what to change.

    Mostly the session's database is not the ledger's: DATABASE_URL has to name the application's database.
    """


class LedgerUnavailable(PenstockError):
    """The SQL database did not answer; start it or correct DATABASE_URL, then repeat the call."""


class LedgerOutdated(PenstockError):
    """The ledger's tables are missing or of another version; run `celery -A workers ledger upgrade`."""


class JobNotFound(PenstockError):
    """The ledger has no row for this job: it was never enqueued here, or no worker has started it yet."""


class JobFailed(PenstockError):
    """The job ended without a result. The cause is the error of its body, made anew where its class is loaded here.

    Attributes:
        id: of the job.
        state: ``failed`` or ``cancelled``.
        reason: why, in one word; ``error`` when the body raised.
        error_type: name of the error's class, with its module.
        error_message: the error's text.
        traceback: of the worker, as text; it is shown with this error.
    """

    def __init__(
        self,
        sentence: str,
        *,
        id: str = "",
        state: str = "failed",
        reason: str | None = None,
        error_type: str | None = None,
        error_message: str | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(sentence)
        self.id = id
        self.state = state
        self.reason = reason
        self.error_type = error_type
        self.error_message = error_message
        self.traceback = traceback
        if traceback:
            self.add_note(f"In the worker:\n{traceback.rstrip()}")


class RemoteError(PenstockError):
    """The error of a job's body, in place of an exception whose class is not loaded here.

    Attributes:
        type: name of the error's class, with its module.
        message: the error's text.
    """

    def __init__(self, type: str, message: str) -> None:
        super().__init__(type, message)
        self.type = type
        self.message = message

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class BodyCancelled(PenstockError):
    """A job's coroutine ended as cancelled, and nobody had cancelled the job: something that it awaited was cancelled
    elsewhere. Catch ``asyncio.CancelledError`` around that, and say what it means there.
    """


class BodyLeft(PenstockError):
    """A job's body raised ``SystemExit`` or ``KeyboardInterrupt`` where many jobs share a process. The job has failed,
    and the process goes on. Return, or raise an ordinary error.
    """


class JobCancelled(BaseException):
    """Somebody has cancelled the job in whose body this is raised. Clean up, and let it pass.

    No ``Exception``, as ``asyncio.CancelledError`` is none: a body that catches those, or is retried for them, must not
    go on. In a coroutine it is that as well.
    """

    def __init__(self, message: str = "somebody has cancelled this job") -> None:
        super().__init__(message)


class NotCancellable(PenstockError):
    """The job has already ended, otherwise than by being cancelled, so there is nothing to cancel."""


class ScheduleNotFound(PenstockError):
    """The ledger has no schedule of this name; `celery -A workers schedules list` shows all."""


class ScheduleRefused(PenstockError):
    """A schedule cannot be changed like that; the message says why, and where it can. Nothing has changed."""


class EmbeddedServerError(PenstockError):
    """The embedded server cannot run here; the message says why and what to change."""
