"""What a run tells those who watch it: metrics and traces. None of it reaches the results."""
