"""The application of each side: the same settings and the same tasks; ours differs by what makes it ours."""
