"""Accounts, sessions, keys, and the rights of each."""
