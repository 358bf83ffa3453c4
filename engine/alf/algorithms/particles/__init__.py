"""Parts of particle-based variational inference."""
