"""The page that is laid before who decides: one HTML file and the same facts as Markdown."""

from fedmed.reporting.page.run_page import write_run
from fedmed.reporting.page.study_page import write_study

__all__ = ["write_run", "write_study"]
