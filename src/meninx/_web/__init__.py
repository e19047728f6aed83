"""Serve the web application: studies uploaded, scored in the background, read and answered."""
