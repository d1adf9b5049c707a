"""The rule: from the Gram matrix of scaled pooled vectors to the group of sources."""
