"""Costs inside the process, without a network: CPU, memory, imports."""
