service {
  name = "web"
  id   = "web-1"
  port = 8080
  tags = [
    "zone=a,b", # one tag
    "rule=Host(`a`),Path(`/b`)",
  ]
}
