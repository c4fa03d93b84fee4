"""The commands of ``kato-consul``, one module each."""
