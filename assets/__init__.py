"""What Dagster sees: the two tables, when they are refreshed, and how to tell that they are right."""

import warnings

from dagster import BetaWarning

# Whoever starts a command would read what is called beta; we pin the version in which we tried it.
warnings.filterwarnings("ignore", category=BetaWarning)
