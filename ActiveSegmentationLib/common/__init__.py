"""Shared by all packages: errors with advice, progress that can be cancelled, atomic files, named random streams."""
