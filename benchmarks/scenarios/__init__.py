"""Scenarios with a beginning and an end: a registration, an instance that is killed."""
