"""A shop on FastAPI; see main.py."""
