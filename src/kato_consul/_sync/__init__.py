"""The sync shell, on threads."""
