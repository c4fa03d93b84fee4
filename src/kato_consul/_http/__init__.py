"""HTTP for both shells: endpoints, request bytes, response parsing, and the httpx adapter."""
