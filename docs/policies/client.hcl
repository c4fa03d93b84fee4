# For clients of the service kato, and for instances and doctor.
service "kato" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}
