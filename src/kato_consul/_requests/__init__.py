"""One call to a service: pick an instance, send, judge what came, fail over."""
