"""The local page on which people go through an audit."""
