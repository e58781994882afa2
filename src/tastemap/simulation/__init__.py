"""People and their tastes made up: for load, memory and simulation."""
