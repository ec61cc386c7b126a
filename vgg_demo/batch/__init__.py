"""Batch classification of many photos, on one machine or on a Ray cluster."""
