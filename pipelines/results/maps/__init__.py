"""Windows of scenes on a map: as a page, as features, and as rasters."""
