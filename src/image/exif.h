#pragma once

// The orientation tag, wherever a file keeps it (private to this folder).

#include "image/bytes.h"

namespace glimpse {

// Orientation (1..8) out of an EXIF block: an optional "Exif\0\0" and a TIFF header with its first directory.
// 0 when the block is broken or does not have the tag; a value outside 1..8 counts as upright, as in
// PIL.ImageOps.exif_transpose.
int exif_orientation(Bytes block);

// Orientation out of an XMP packet: the first tiff:Orientation="N" or tiff:Orientation>N. 0 when there is none.
int xmp_orientation(Bytes packet);

// What PIL.Image.getexif().get(Orientation, 1) finds: the EXIF tag if it is there, else XMP's, else 1.
int orientation_of(Bytes exif, Bytes xmp);

}  // namespace glimpse
