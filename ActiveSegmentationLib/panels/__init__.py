"""The Qt side of the extension: one panel a step, and what connects the session to Slicer's own widgets."""
