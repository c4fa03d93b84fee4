SERVICE {
  Name = "web"
  ID   = "web-1"
  PORT = 8080
  Tags = ["a"]

  Check {
    TCP      = "127.0.0.1:8080"
    Interval = "10s"
  }
}
