{
  "service": {
    "name": "web",
    "id": "web-1",
    "port": 8080,
    "address": "127.0.0.1",
    "check": {
      "tcp": "127.0.0.1:8080",
      "interval": "10s"
    }
  }
}
