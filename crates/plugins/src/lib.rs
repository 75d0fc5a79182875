//! Loads, runs and unloads plugins.
