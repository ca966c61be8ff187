"""Measuring the steps inside jobs: from the lines of their logs to `aggregate_step_metrics`."""
