"""The one engine: rounds of a federation, wherever they run. It knows nothing of run directories or pages."""
