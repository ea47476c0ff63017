"""The metrics of audio-visual segmentation, one file for each convention."""
