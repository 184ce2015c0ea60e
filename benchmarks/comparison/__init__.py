"""All systems side by side: what they are, what is measured of each, and the tables that are made of it.

`catalogue` says which systems there are, `environment` installs each, `system` starts its processes, `measuring` takes
one through a run, `leftovers` looks at what ours has left behind, `outcome` holds what was found, `targets` judges it,
and `page` shows it.
"""
