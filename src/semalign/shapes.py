"""Shapes in signatures, as jaxtyping writes them, for the modules that `semalign predict` loads.

They are jaxtyping's for the type checker and where that is loaded already, as in tests, which enforce them. Elsewhere nothing
looks at them, and jaxtyping, a tenth of the command's time, stays unloaded: a shape is then the type of its array.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool as Bool
    from jaxtyping import Complex as Complex
    from jaxtyping import Float as Float
    from jaxtyping import Int as Int
    from jaxtyping import Num as Num
    from jaxtyping import UInt8 as UInt8
else:

    class _Shape:
        def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
            return item[0]

    Bool = Complex = Float = Int = Num = UInt8 = _Shape
