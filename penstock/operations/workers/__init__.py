"""Workers: what they do, which one is stuck, and what they are told. Works on any Celery app whose broker is Redis."""
