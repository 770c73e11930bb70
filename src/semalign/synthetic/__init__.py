"""Parametric faces and objects with known truth, and annotators with realistic noise, written as data sets."""

from semalign.synthetic.annotators import Annotator, annotate, make_annotators
from semalign.synthetic.dataset import face_of, write_dataset
from semalign.synthetic.object_set import ObjectNoise, ObjectSetSettings, object_size, write_objects
from semalign.synthetic.objects import ObjectPicture, ObjectSettings, object_of, render_object
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
    "ObjectNoise",
    "ObjectPicture",
    "ObjectSetSettings",
    "ObjectSettings",
    "SynthesisSettings",
    "annotate",
    "category_settings",
    "contact_sheet",
    "face_of",
    "make_annotators",
    "object_of",
    "object_size",
    "render_clip",
    "render_face",
    "render_frame",
    "render_object",
    "write_dataset",
    "write_objects",
    "write_script",
]
