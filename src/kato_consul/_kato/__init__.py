"""KATO's session API: one writer per session, each observation exactly once.

This package never imports Consul's. It sends requests through `kato_consul._requests`, which picks
the instance and reports what each attempt proves.
"""
