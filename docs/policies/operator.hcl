# For drain and deregister of the service kato, by an operator.
service "kato" {
  policy = "write"
}

# To find the node of an instance that the agent does not have.
node_prefix "" {
  policy = "read"
}
