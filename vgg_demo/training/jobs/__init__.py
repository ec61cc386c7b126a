"""Runs training jobs in worker processes: queue, worker, and the messages between them."""
