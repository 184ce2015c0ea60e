"""A plain Celery project that has adopted Penstock."""
