"""What calls cost, measured: ``make bench``. The guard that runs with the tests is `guard`."""
