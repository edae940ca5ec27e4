"""From a query to candidates: channels, their fusion and calibration, moments of videos, business rules."""
