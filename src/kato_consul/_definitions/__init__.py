"""Service definitions: what users write, decoded and checked."""
