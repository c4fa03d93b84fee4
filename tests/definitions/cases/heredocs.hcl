service {
  name = "web"
  id   = "web-1"
  port = 8080

  meta {
    about = <<EOF
serves "pages" at ${path}
  and more
EOF
    rules = <<-EOT
      one
        two
      EOT
  }
}
