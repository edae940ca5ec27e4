"""From recordings and videos to segments: speech, other sounds, frames."""
