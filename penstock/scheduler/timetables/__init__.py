"""Which times are planned: a file per kind of timetable, over clocks that are put forward and back (``zones``)."""
