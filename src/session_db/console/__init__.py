"""The web console: static files that a browser runs, and nothing else; what they show they ask of the API."""
