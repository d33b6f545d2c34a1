"""Builds the English-Persian starter corpus."""
