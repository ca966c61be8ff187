"""The console command `execmetrics`."""
