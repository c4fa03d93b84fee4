# For clients of the service kato, and for the commands instances and doctor.
service "kato" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}
