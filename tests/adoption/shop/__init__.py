"""An ordinary Celery project: what a small web shop does in the background."""
