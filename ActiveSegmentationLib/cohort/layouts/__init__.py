"""One reader per layout: how a folder is recognised, and which volumes it contains."""
