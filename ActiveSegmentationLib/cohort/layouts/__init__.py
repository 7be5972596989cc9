"""One reader a layout: how a folder is recognised, and which volumes it holds."""
