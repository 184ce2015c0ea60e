"""Measures Redis and PostgreSQL with many at once, and writes `docs/scale.md`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.harness import Bench
from benchmarks.report import number
from benchmarks.scale import claimers, recorders

PAGE = """\
# Scale

Written by `make bench`, from figures that were measured with many claimers and many recorders at once on one machine:
{where}.

A job costs three things: the time of its body, CPU of the worker around it ([comparison](comparison.md)), and a share
of two servers that all workers have in common. Workers are added by starting more of them. This page is about the two
servers.

## In short

| | per job | one of them is busy at about |
|---|---:|---:|
| Redis: claim, unindex, settle | {redis_cpu} µs of its one processor | {redis_limit} jobs/s |
| PostgreSQL: one row, in batches of {batch} | {sql_cpu} µs of any of its processors | {sql_limit} jobs/s for each |

The limits are what is left when everything else is free: one processor's second divided by what a job takes of it.
Redis runs all commands on one processor, so that is its end, however many cores there are. PostgreSQL uses as many
processors as there are keepers that record at once. Publishing is not in the first figure; what a producer costs is in
the benchmarks. Leave half of each for bursts, for retries and for what else asks.

## Redis with many claimers

Each claimer is a process with a connection of its own, and claims {claim_batch} jobs at a time, as a child does under
load; the bodies are left out. `busy` is the share of one processor that Redis used. The claimers share this machine's
{cores} with Redis, and from a handful on they take processors from each other: where the rate no longer rises while
Redis is not busy, it is the machine that is full. What a job costs Redis does not grow with the number of claimers.

| claimers | Redis servers | jobs/s | CPU of Redis per job, µs | busy | commands per job | network per job, bytes |
|---:|---:|---:|---:|---:|---:|---:|
{claiming}

Idle claimers wait for a token, and one job wakes one of them ([how a job moves](how-a-job-moves.md)); without one each
asks every two seconds.

## PostgreSQL with many recorders

Each recorder is a process with one connection, as a worker's keeper has, and writes batches of {batch}. The log is the
write-ahead log that is synced with each commit.

| recorders | rows/s | CPU of backends per row, µs | log per row, bytes | disk per row with indexes, bytes |
|---:|---:|---:|---:|---:|
{recording}

Small batches cost more: an idle system writes each job by itself at once, and batches grow with the load, so the cost
per job falls as the rate rises. Retention deletes old rows in small batches; see [deploy](deploy.md).

## More than one Redis can do

Split by queue. A shard is a Redis, a ledger, and workers; all run the same code and differ by their environment:

```sh
REDIS_URL=redis://redis-a:6379/0 DATABASE_URL=postgresql://db-a/jobs celery -A workers worker -Q default,mail
REDIS_URL=redis://redis-b:6379/0 DATABASE_URL=postgresql://db-b/jobs celery -A workers worker -Q imports
```

- A queue lies on one server, with its priorities, its parked jobs and its waiting index. Nothing is shared between
  servers, so two serve twice as many jobs: the last row of the table above is one half of the claimers on each.
- Each Redis has a ledger of its own. What a ledger's outbox publishes and what its reconciler compares is one Redis;
  two must not share one. Two databases on one PostgreSQL do, until that is busy as well.
- A producer submits to the shard that its environment names. An application that feeds both has a process, or a Celery
  app, for each.
- Redis Cluster is not served: the priorities of one queue would lie on different nodes.
- A Redis that is full of waiting jobs is a question of memory, not of rate: [benchmarks](benchmarks.md) has bytes per
  waiting job.
"""


@dataclass(frozen=True)
class Scale:
    """What was measured."""

    claiming: Sequence[claimers.Claiming]
    recording: Sequence[recorders.Recording]

    def as_data(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    @property
    def redis_cpu(self) -> float:
        """Microseconds of one Redis per job, with the most claimers."""
        return [each for each in self.claiming if each.servers == 1][-1].cpu_us

    @property
    def sql_cpu(self) -> float:
        """Microseconds of PostgreSQL per row, with the most recorders."""
        return self.recording[-1].cpu_us


def measure(bench: Bench) -> Scale:
    """Both servers."""
    return Scale(claimers.measure(bench), recorders.measure(bench))


def as_text(scale: Scale) -> str:
    """For a terminal."""
    lines = ["Redis and PostgreSQL with many at once  [scale]"]
    lines += [
        f"  {each.claimers:>2} claimers, {each.servers} Redis: {number(each.rate)} jobs/s, "
        f"{number(each.cpu_us)} µs of Redis per job, busy {each.busy:.0%}"
        for each in scale.claiming
    ]
    lines += [
        f"  {each.recorders:>2} recorders: {number(each.rate)} rows/s, {number(each.cpu_us)} µs of PostgreSQL per row, "
        f"{number(each.log_bytes)} bytes of log"
        for each in scale.recording
    ]
    return "\n".join(lines)


def as_markdown(scale: Scale, where: dict[str, str]) -> str:
    """The page ``docs/scale.md``."""
    return PAGE.format(
        where=", ".join(where.values()),
        cores=where["processor"],
        redis_cpu=number(scale.redis_cpu),
        redis_limit=rounded(1e6 / scale.redis_cpu),
        sql_cpu=number(scale.sql_cpu),
        sql_limit=rounded(1e6 / scale.sql_cpu) if scale.sql_cpu else "—",
        batch=recorders.BATCH,
        claim_batch=claimers.BATCH,
        claiming=table(
            (each.claimers, each.servers, each.rate, each.cpu_us, f"{each.busy:.0%}", each.commands, each.bytes)
            for each in scale.claiming
        ),
        recording=table(
            (each.recorders, each.rate, each.cpu_us, each.log_bytes, each.disk_bytes) for each in scale.recording
        ),
    )


def rounded(value: float) -> str:
    """To thousands: it is an estimate."""
    return f"{round(value, -3):,.0f}"


def table(rows: Iterable[Sequence[object]]) -> str:
    """The rows of a table."""
    cells = ([each if isinstance(each, str) else number(float(str(each))) for each in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
