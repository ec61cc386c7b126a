"""What predictions mean: verdicts, agreement between models, and evaluation on labeled photos."""
