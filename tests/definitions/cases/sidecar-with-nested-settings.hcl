service {
  name = "web"
  id   = "web-1"
  port = 8080

  connect {
    sidecar_service {
      port = 21042
      tags = ["proxy"]
      proxy {
        local_service_port = 8081
        config {
          protocol = "http"
          limits {
            max_connections = 10
          }
        }
        upstreams {
          destination_name = "stock"
          local_bind_port  = 9191
        }
        upstreams {
          destination_name = "bills"
          destination_type = "prepared_query"
          datacenter       = "dc2"
          local_bind_port  = 9192
        }
      }
    }
  }
}
