"""Registration: registers instances in Consul and keeps their registrations correct."""
