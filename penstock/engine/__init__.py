"""How a worker runs jobs: Celery's own worker, with claims that it keeps through whatever happens to connections."""
