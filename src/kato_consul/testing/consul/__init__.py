"""A real Consul agent or cluster for tests."""
