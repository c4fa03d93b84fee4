service {
  name = "web"
  id   = "web-1"
  port = 8080
  tags = ["/shop/${1}", "$${a}", "50%", "%{if}", "$$", "${lookup("a", "b")}"]
}
