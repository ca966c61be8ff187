"""The operational schema: executions, their logs, and blobs."""
