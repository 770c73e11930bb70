"""To and from other tools' objects in memory; each tool is imported when it is first needed.

`semalign.adapters.supervision` and `semalign.adapters.fiftyone`.
"""
