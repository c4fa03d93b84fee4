"""Owning: what a process does with the sessions that it shares with others: it takes them over,
continues them, and hands them over."""
