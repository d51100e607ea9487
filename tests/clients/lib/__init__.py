"""What the client tests share: the binary under test, reading back, and the clients' processes."""
