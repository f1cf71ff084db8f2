"""Settings: where the workspace is, what its file, the environment and the flags say."""

from tickerlake.config.loading import Config, load
from tickerlake.config.settings import Settings, every_setting, variable_of
from tickerlake.config.workspace import FILE_NAME, find_workspace, make_workspace

__all__ = [
    "FILE_NAME",
    "Config",
    "Settings",
    "every_setting",
    "find_workspace",
    "load",
    "make_workspace",
    "variable_of",
]
