"""Where rows come from: the orchestration database as one moment shows it."""
