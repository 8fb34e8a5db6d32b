"""From photographs or a video to a capture: structure from motion by pycolmap, and its world put upright."""
