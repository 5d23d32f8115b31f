"""Pictures of what a training does, and contact sheets."""
