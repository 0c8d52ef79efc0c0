"""One function per step: a workspace and a spec in, a value out."""
