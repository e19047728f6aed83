"""Score archives: many series, on one machine or a cluster, into a table."""
