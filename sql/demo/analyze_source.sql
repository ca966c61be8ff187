-- Tell the planner about the rows that just arrived; without the right to, PostgreSQL only warns.
ANALYZE orchestration.organizations, orchestration.workflows, orchestration.clients, orchestration.jobs
