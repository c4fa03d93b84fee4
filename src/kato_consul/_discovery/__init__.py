"""Service discovery: keeps a snapshot of a service's instances up to date from Consul."""
