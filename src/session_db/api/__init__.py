"""The service over HTTP: who may come in, routes by noun, live streams, and errors as problem documents."""
