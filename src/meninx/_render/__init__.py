"""Draw findings for readers: heat maps, pictures, and the check whether a map may be shown."""
