"""Web frameworks and databases: each module needs the extra of its name."""
