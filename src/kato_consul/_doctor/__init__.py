"""Diagnosis of a deployment: flows collect facts, pure functions turn them into findings."""
