"""The report's figures: each function takes arrays or records and returns a matplotlib figure."""
