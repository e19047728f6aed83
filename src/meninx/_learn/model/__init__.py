"""The networks, and maps that explain their scores."""
