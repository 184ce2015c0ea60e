"""How jobs move in Redis: kombu's lists and envelope for everybody, claims and leases for our own workers."""
