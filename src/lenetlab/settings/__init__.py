"""params.yaml and claims.yaml as frozen, validated settings."""
