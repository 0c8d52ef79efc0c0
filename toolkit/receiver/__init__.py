"""The webhook receiver: what Customer.io tells at once, kept before it is acknowledged, and then applied."""
