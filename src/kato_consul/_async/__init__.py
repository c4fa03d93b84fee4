"""The async shell, on asyncio."""
