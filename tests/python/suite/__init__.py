"""The table-driven suite: every op of the table, checked the same way."""
