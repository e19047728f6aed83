"""Score scans with a trained network: no torch, no pandas, no matplotlib."""
