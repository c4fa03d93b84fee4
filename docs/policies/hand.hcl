# For drain and deregister of the service kato, by hand.
service "kato" {
  policy = "write"
}
