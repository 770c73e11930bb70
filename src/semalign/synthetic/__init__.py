"""Parametric faces with known truth, and annotators with realistic noise, written as a data set."""

from semalign.synthetic.annotators import Annotator, annotate, make_annotators
from semalign.synthetic.dataset import face_of, write_dataset
from semalign.synthetic.render import Face, FaceCurve, render_face
from semalign.synthetic.settings import FaceSettings, GroupNoise, NoiseSettings, SynthesisSettings
from semalign.synthetic.sheet import contact_sheet
from semalign.synthetic.video import Clip, ClipSettings, category_settings, render_clip, render_frame, write_script

__all__ = [
    "Annotator",
    "Clip",
    "ClipSettings",
    "Face",
    "FaceCurve",
    "FaceSettings",
    "GroupNoise",
    "NoiseSettings",
    "SynthesisSettings",
    "annotate",
    "category_settings",
    "contact_sheet",
    "face_of",
    "make_annotators",
    "render_clip",
    "render_face",
    "render_frame",
    "write_dataset",
    "write_script",
]
