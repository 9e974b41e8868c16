"""How well a recognition pipeline tells people apart, before and after encryption."""
