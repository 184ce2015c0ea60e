"""Prints, as shell assignments, the Redis and the PostgreSQL of this machine that CI may use as further targets.

Makes an empty database on that PostgreSQL, and finds an empty database number in that Redis. Prints nothing for a
service that is not there.
"""

from __future__ import annotations

import uuid

import redis
from sqlalchemy import create_engine, exc, text

SERVERS = ("postgresql+psycopg://postgres@127.0.0.1:5432/postgres", "postgresql+psycopg://127.0.0.1:5432/postgres")


def main() -> None:
    """Prints REDIS_URL and DATABASE_URL, each only where there is one."""
    if url := _redis():
        print(f"REDIS_URL={url}")
    if url := _postgresql():
        print(f"DATABASE_URL={url}")


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
    name = f"penstock_ci_{uuid.uuid4().hex[:8]}"
    for server in SERVERS:
        try:
            with create_engine(server, isolation_level="AUTOCOMMIT").connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
        except exc.SQLAlchemyError:
            continue
        return server.replace("+psycopg", "").rsplit("/", 1)[0] + f"/{name}"
    return None


if __name__ == "__main__":
    main()
