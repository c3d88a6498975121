"""The Space: everything is in the package."""

import os

from nerfound.space import launch

if __name__ == "__main__":
    launch(os.environ.get("NERFOUND_FOUNDATION", "nerfound-mini"))
