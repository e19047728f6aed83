"""Pictures and screenshots of docs/."""
