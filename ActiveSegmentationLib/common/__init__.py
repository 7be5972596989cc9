"""What every room may use: errors that help, progress that can cancel, atomic files, named random streams."""
