"""Who may do what: accounts, sessions, keys, a provider of identities."""
