"""One module for each foreign SDK; none needs another, and each is imported by who uses its SDK."""
