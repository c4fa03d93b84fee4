# For drain and deregister of the service kato, by an operator.
service "kato" {
  policy = "write"
}
