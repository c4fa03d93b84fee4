service {
  name = "web"
  id   = "web-1"
  port = 8080

  tagged_addresses {
    lan_ipv4 {
      address = "10.0.0.5"
      port    = 8080
    }
    wan = {
      address = "192.0.2.1"
      port    = 80
    }
  }
}
