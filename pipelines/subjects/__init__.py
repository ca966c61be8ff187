"""What is measured, as plain data: subjects, their facts, dimensions and measures."""

from typing import Final

from pipelines.subjects.jobs import JOBS
from pipelines.subjects.steps import STEPS
from pipelines.subjects.subject import Subject

# In the order in which a pass goes through them: steps follow the jobs.
SUBJECTS: Final[tuple[Subject, ...]] = (JOBS, STEPS)
