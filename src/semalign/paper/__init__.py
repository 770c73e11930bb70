"""The paper's reproduction: every table and figure made anew from one cache of experiments, with what the paper's
method is compared with there. It imports the product, and nothing of the product imports it but the command `reproduce`, when
that is called.
"""

from semalign.paper.run import KNOWN, reproduce
from semalign.paper.sizes import SIZES

__all__ = ["KNOWN", "SIZES", "reproduce"]
