"""Files that cross the border of the program: volumes, boxes, segmentations, surfaces. LPS by convention outside, RAS inside."""
