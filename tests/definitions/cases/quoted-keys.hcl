"service" {
  "name" = "web"
  "id"   = "web-1"
  "port" = 8080
  "meta" = { "team" = "shop" }
  "check" {
    "tcp"      = "127.0.0.1:8080"
    "interval" = "10s"
  }
}
