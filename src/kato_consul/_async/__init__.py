"""The async shell: facades, driver and engines on asyncio."""
