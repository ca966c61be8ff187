-- Tell the planner about the rows that just arrived; without the right to, PostgreSQL only warns.
-- Takes and gives nothing.
ANALYZE orchestration.organizations, orchestration.workflows, orchestration.clients, orchestration.jobs
