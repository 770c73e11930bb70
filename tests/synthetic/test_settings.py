"""Settings that make no data set are refused in one sentence that names the setting and the remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from semalign.errors import SemalignError
from semalign.synthetic import FaceSettings, GroupNoise, NoiseSettings, SynthesisSettings
from semalign.synthetic.settings import check_settings

NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"count": 0}, "count"),
        ({"test_count": -1}, "test_count"),
        ({"test_count": 2501}, "test_count"),
        ({"seed": -1}, "seed"),
        ({"annotators": 0}, "annotators"),
        ({"image_format": "gif"}, "image_format"),
        ({"jpeg_quality": 101}, "jpeg_quality"),
        ({"face": FaceSettings(size=16)}, "face.size"),
        ({"face": FaceSettings(box_share=1.5)}, "face.box_share"),
        ({"face": FaceSettings(max_yaw=90.0)}, "face.max_yaw"),
        ({"face": FaceSettings(max_pitch=-1.0)}, "face.max_pitch"),
        ({"face": FaceSettings(roll=NAN)}, "face.roll"),
        ({"face": FaceSettings(expression=2.0)}, "face.expression"),
        ({"face": FaceSettings(noise=-1.0)}, "face.noise"),
        ({"face": FaceSettings(blur=1.1)}, "face.blur"),
        ({"face": FaceSettings(glasses=NAN)}, "face.glasses"),
        ({"noise": NoiseSettings(contour=GroupNoise(-1.0, 0.0, 0.0))}, "noise.contour.shared"),
        ({"noise": NoiseSettings(eyes=GroupNoise(0.0, 0.0, NAN))}, "noise.eyes.spread"),
        ({"noise": NoiseSettings(reach=0.0)}, "noise.reach"),
        ({"noise": NoiseSettings(habit=1.2)}, "noise.habit"),
        ({"noise": NoiseSettings(strong=-0.1)}, "noise.strong"),
        ({"noise": NoiseSettings(occluded=-2.0)}, "noise.occluded"),
        ({"noise": NoiseSettings(scale=NAN)}, "noise.scale"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], name: str) -> None:
    with pytest.raises(SemalignError, match=rf"^{name} is .*, which makes no data set; (choose|make) [^.]*\S.*\.$"):
        check_settings(replace(SynthesisSettings(), **change))


def test_the_defaults_and_their_limits_are_good() -> None:
    check_settings(SynthesisSettings())
    check_settings(SynthesisSettings(count=1, test_count=1, face=FaceSettings(size=32, occlusion=1.0, grey=0.0)))
