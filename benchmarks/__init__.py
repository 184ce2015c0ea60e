"""What Penstock costs and brings, measured beside stock Celery in the same run: ``python -m benchmarks``."""
