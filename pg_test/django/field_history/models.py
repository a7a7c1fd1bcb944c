"""What is left of the app after its tables have gone: nothing refers to them any more."""
