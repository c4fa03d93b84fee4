"""Benchmarks: what calls cost (``make bench``), and the guard on instruction counts (`guard`)."""
