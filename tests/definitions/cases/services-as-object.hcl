services = {
  name = "web"
  id   = "web-1"
  port = 8080
}
