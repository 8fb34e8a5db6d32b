"""Our own scenes and shapes, traced analytically: pictures, distances and normals that are exact."""

from nerfcore.synthetic.builtin import NUM_OBJECTS, SOLIDS, signed_distance, trace
from nerfcore.synthetic.tracer import Solid, trace_solids

__all__ = ["NUM_OBJECTS", "SOLIDS", "Solid", "signed_distance", "trace", "trace_solids"]
