"""Sandbox mode: who is sent to is simulated, redirected or kept back; see docs/sandbox.md."""
