"""The HTTP API: endpoints are data, from which the routes and their description follow."""
