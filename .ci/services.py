"""The Redis and the PostgreSQL of this machine that CI may use as further targets.

`services.py find` makes an empty database on that PostgreSQL, finds an empty database number in that Redis, and prints
both as shell assignments, or nothing for a service that is not there. `services.py clean` removes what is in both.
"""

from __future__ import annotations

import os
import sys
import uuid

import redis
from sqlalchemy import create_engine, exc, make_url, text

SERVERS = ("postgresql+psycopg://postgres@127.0.0.1:5432/postgres", "postgresql+psycopg://127.0.0.1:5432/postgres")

PREFIX = "penstock_ci_"


def find() -> None:
    """Prints REDIS_URL and DATABASE_URL, each only where there is one."""
    if url := _redis():
        print(f"REDIS_URL={url}")
    if url := _postgresql():
        print(f"DATABASE_URL={url}")


def clean() -> None:
    """Removes what was left in a Redis database, which was empty when it was found, and the database made here."""
    if url := os.environ.get("REDIS_URL"):
        with redis.Redis.from_url(url) as connection:
            connection.flushdb()
    made = make_url(os.environ.get("DATABASE_URL") or "sqlite://").set(drivername="postgresql+psycopg")
    if made.database and made.database.startswith(PREFIX):
        with create_engine(made.set(database="postgres"), isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {made.database} WITH (FORCE)"))


def _redis() -> str | None:
    for number in range(15, 0, -1):
        url = f"redis://127.0.0.1:6379/{number}"
        try:
            with redis.Redis.from_url(url, socket_connect_timeout=2) as connection:
                if connection.dbsize() == 0:
                    return url
        except redis.RedisError:
            return None
    return None


def _postgresql() -> str | None:
    name = f"{PREFIX}{uuid.uuid4().hex[:8]}"
    for server in SERVERS:
        try:
            with create_engine(server, isolation_level="AUTOCOMMIT").connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
        except exc.SQLAlchemyError:
            continue
        return server.replace("+psycopg", "").rsplit("/", 1)[0] + f"/{name}"
    return None


if __name__ == "__main__":
    {"find": find, "clean": clean}[sys.argv[1]]()
