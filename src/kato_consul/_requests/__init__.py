"""Requests to a service: choose an instance, send, classify the outcome, fail over."""
