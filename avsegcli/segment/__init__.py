"""Segment videos: windows, optical flow between frames, one video or many."""
