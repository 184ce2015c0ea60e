"""From a crontab to a module of declarations: reading its lines, taking commands apart, writing the module."""
