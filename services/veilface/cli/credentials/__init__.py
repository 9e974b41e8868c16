"""Certificates, signing keys, trust stores and the master key: what the parties of a stack or a deployment hold."""
