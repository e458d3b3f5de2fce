"""Tools for tests: of programs that use rustgrad, and of rustgrad itself."""
