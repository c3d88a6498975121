"""Loopback servers that stand in for the services nerfound talks to."""
