"""When jobs start: schedules as data, and how Celery's beat runs them."""
