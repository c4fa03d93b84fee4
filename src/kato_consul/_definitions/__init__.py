"""Service definitions: what users write, decoded and validated."""
