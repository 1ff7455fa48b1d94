"""How a picture is shown: in the terminal, as a page, as a line."""
