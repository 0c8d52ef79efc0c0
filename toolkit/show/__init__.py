"""What the commands print: plain text for people at a terminal."""
