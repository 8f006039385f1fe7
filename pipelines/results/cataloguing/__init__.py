"""An output's scenes as items of a STAC catalogue."""
