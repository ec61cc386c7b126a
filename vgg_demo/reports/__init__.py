"""Results as charts, JSON documents, receipts and annotated photos."""
