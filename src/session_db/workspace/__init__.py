"""Workspaces: ``agents/sessions/<slug>/`` on disk in step with the database.

The file owns what people and agents write in it, the database what happened: docs/how-to/workspace.md has the table.
"""
