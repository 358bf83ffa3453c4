"""Shelf of the gymnasium wrappers; importing it imports gymnasium."""

from alf.environments._action_wrappers import (
    ContinuousActionClip,
    ContinuousActionMapping,
    NormalizedAction,
    clips_actions,
    has_continuous_actions,
)
from alf.environments._atari_wrapper import DMAtariPreprocessing
from alf.environments._frame_wrappers import (
    BaseObservationWrapper,
    EpisodicRandomFrameCrop,
    FrameCrop,
    FrameFlip,
    FrameGrayScale,
    FrameResize,
    FrameSkip,
    FrameStack,
    ImageChannelFirst,
    NonEpisodicEnv,
    transform_space,
)

__all__ = [
    "BaseObservationWrapper",
    "ContinuousActionClip",
    "ContinuousActionMapping",
    "DMAtariPreprocessing",
    "EpisodicRandomFrameCrop",
    "FrameCrop",
    "FrameFlip",
    "FrameGrayScale",
    "FrameResize",
    "FrameSkip",
    "FrameStack",
    "ImageChannelFirst",
    "NonEpisodicEnv",
    "NormalizedAction",
    "clips_actions",
    "has_continuous_actions",
    "transform_space",
]
