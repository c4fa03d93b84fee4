"""Output of the results: tables on the terminal, an SVG chart."""
