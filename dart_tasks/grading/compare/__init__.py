"""Whether two trees denote the same answer: shapes, regions of the line, values at points, equality."""
