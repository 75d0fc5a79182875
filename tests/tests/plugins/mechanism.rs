//! `plugins list|load|unload`, `data/loaded_plugins`, the boot, and their bad input.
