"""Parts of soft actor-critic and its relatives: critics, policies, losses, representation."""
