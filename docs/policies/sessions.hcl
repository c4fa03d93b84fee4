# For a session directory in Consul, in addition to the policy of clients; and for the command
# sessions with --release. To list sessions, "read" is enough for the first rule, alone.
key_prefix "kato-consul/kato/" {
  policy = "write"
}

# Each process that owns sessions is an instance of this service.
service "kato-consul-owner" {
  policy = "write"
}

# Its Consul session is on the node of its agent: instead of all, name the nodes.
session_prefix "" {
  policy = "write"
}
