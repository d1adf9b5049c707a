"""What a wheel carries beside the package: the app, its pages and the data that ship with it.

Called by hatchling. An editable install carries none of it: it uses the checkout's own files.
`dtvg/paths.py` finds both.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelFiles(BuildHookInterface):
    """Adds the files of `[tool.hatch.build.targets.wheel.hooks.custom.files]` to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Map each path of the checkout to its place in the wheel.

        Args:
            version: "standard", or "editable" where the checkout itself is used.
            build_data: what hatchling builds from.
        """
        if version != "editable":
            build_data["force_include"].update(self.config["files"])
