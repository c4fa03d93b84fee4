"""What the clients are measured against: fast test servers, a Consul agent, nginx."""
