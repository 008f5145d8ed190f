"""Pictures from hits: depth, silhouettes, segments, normals, photographs."""
