"""What is well and what is not: checks of the settings, the server, the tables and what captures, each with what to do about it."""
