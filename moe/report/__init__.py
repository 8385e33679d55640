"""Pages and pictures: of one run, of runs compared, of the verdict."""
