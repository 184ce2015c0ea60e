"""Values of Python as plain JSON and back, by their annotations. Nothing on the wire names a type."""
