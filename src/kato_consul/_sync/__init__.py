"""The sync shell: facades, which are generated, driver and engines for threads."""
