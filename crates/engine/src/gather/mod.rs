//! Gather: detections become threats.
