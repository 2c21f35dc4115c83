"""What is made of the figures: tables, plots, and the page in docs/."""
