"""The cases, by client."""
