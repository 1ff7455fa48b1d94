"""What is true of an image's pixels: colours, theme, contrast."""
