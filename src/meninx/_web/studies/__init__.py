"""Studies of the web application: received, scored, listed, shown, sent, measured."""
