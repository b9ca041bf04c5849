"""Readers and writers of foreign formats; each imports its one framework, inside itself."""
