"""What pages are made of: pickers bound to the URL, figures with their tables, forms."""
