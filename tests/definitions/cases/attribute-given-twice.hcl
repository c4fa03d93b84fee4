service {
  name = "web"
  id   = "web-1"
  port = 8080
  port = 8081
}
