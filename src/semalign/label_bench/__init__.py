"""Which method of finding labels is nearest to the truth: measured where it is known, or where people say it."""

from semalign.label_bench.run import PARTS, bench_labels
from semalign.label_bench.settings import SIZES, BenchSettings
from semalign.pipeline.witnesses import ShippedModel
from semalign.searches.builders import EvidenceBuilder

__all__ = ["PARTS", "SIZES", "BenchSettings", "EvidenceBuilder", "ShippedModel", "bench_labels"]
