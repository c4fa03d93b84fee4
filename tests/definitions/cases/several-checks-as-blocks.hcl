service {
  name = "web"
  id   = "web-1"
  port = 8080

  checks {
    tcp      = "127.0.0.1:8080"
    interval = "10s"
  }

  checks {
    id       = "page"
    http     = "http://127.0.0.1:8080/"
    interval = "30s"
  }
}
