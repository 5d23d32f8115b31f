"""What keeps a long training from going wrong unseen: see docs/reliability.md."""
