# For register, run and exec of the service kato.
service "kato" {
  policy = "write"
}

# To read from the catalog, as clients do, that an instance passes.
node_prefix "" {
  policy = "read"
}
