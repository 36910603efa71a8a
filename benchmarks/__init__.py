"""Run by hand and by `make bench`: they fill databases, and print times as ratios."""
