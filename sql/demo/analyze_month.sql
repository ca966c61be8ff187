-- Tell the planner how small the month's tables are, so that it hashes them. Takes and gives nothing.
ANALYZE month_organizations, month_workflows, month_clients, month_hours, month_days
