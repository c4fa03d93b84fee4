service {
  name = "web"
  port = 8080
}

service {
  name = "stock"
  port = 7001
}
