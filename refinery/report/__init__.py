"""What people look at: PNG grids and curves, terminal tables."""
