"""The command that opens the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from semalign.cli.options import argument, flag, option


def serve(
    model: Annotated[
        str, argument("[MODEL]", "A model that ships with Semalign by its name, or a model file.")
    ] = "default",
    port: Annotated[int, option("--port", "PORT", "Port; 0 takes a free one.", default=True, min=0, max=65535)] = 8765,
    host: Annotated[
        str, option("--host", "ADDRESS", "Address to listen on; others than the loopback let others in.", default=True)
    ] = "127.0.0.1",
    correct: Annotated[bool, flag("--correct", "Move hidden landmarks to where the others say that they are.")] = False,
    browse: Annotated[bool, flag("--open", "Open the page in the browser.")] = False,
) -> None:
    """A page on this machine: drop a picture or use the camera, look at points, confidences and heatmaps, save them.

    Pictures stay on this machine, and none is kept. Ctrl-C ends it. Needs the extra 'serve', and for heatmaps 'train'.

    Examples:
        semalign serve
        semalign serve runs/300w/aligned/model.safetensors --port 9000
    """
    from semalign.cli.page import run_page
    from semalign.detect import Detector, DetectorSettings
    from semalign.serve import Service, open_server

    detector = Detector.from_pretrained(model, settings=DetectorSettings(correct=correct))
    run_page(open_server(Service(detector, detector.landmarker, model), host, port), browse)


COMMANDS: dict[str, Callable[..., None]] = {"serve": serve}
