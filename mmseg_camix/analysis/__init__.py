"""What the tools under tools/analysis compute: step timings, benchmark tables, pictures."""
