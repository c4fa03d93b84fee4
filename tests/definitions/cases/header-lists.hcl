service {
  name = "web"
  id   = "web-1"
  port = 8080

  check {
    id       = "page"
    http     = "http://127.0.0.1:8080/health"
    method   = "POST"
    body     = "{\"deep\": true}"
    interval = "10s"
    header {
      Content-Type = ["application/json"]
      "X-From"     = ["consul", "agent"]
    }
  }
}
