"""What report tasks are made of; no tasks here.

`reading.py` rows from a database that cannot be written to · `sheet.py` rows as CSV, and their totals · `page.py` and
`chart.py` what people look at · `shelf.py` the folder: names, and files that appear whole or not at all.
"""
