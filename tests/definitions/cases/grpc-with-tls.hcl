service {
  name = "search"
  id   = "search-1"
  port = 7200

  check {
    grpc            = "127.0.0.1:7200/search"
    grpc_use_tls    = true
    tls_skip_verify = true
    interval        = "10s"
  }
}
