"""What readers see of a finding: heat maps, pictures, and whether they may be shown at all."""
