"""Settings of an application that has none."""
