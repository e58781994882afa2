"""What the service takes and gives, as JSON."""
