"""A small shop that uses Penstock, and tests itself with its kit."""
