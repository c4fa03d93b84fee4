"""The commands of ``kato-consul``, one module each, and what these share."""
