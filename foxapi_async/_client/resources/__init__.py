"""What a session offers, by the service's own sections."""
